package clock

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kipass/kipass/internal/kerneltime"
)

func kernelTime() (KernelTime, error) {
	e, err := kerneltime.MaxError()
	return KernelTime{MaxError: e}, err
}

const (
	rtcFolder    = "/sys/class/rtc"
	rtcAgreement = 5 * time.Second
)

// rtcSetsClock tells whether the kernel took its time from a real-time clock at boot (hctosys) and the two still agree. A
// clock whose oscillator had stopped gives an error when read.
func rtcSetsClock() bool { return rtcAgrees(rtcFolder, time.Now()) }

func rtcAgrees(folder string, now time.Time) bool {
	clocks, _ := filepath.Glob(filepath.Join(folder, "rtc*"))
	for _, c := range clocks {
		set, err := readNumber(filepath.Join(c, "hctosys"))
		if err != nil || set != 1 {
			continue
		}
		seconds, err := readNumber(filepath.Join(c, "since_epoch"))
		if err == nil && now.Sub(time.Unix(seconds, 0)).Abs() <= rtcAgreement {
			return true
		}
	}
	return false
}

func readNumber(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}
