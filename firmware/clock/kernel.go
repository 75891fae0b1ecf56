package clock

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kernelTime asks adjtimex(2) without changing anything. Its status bit STA_UNSYNC is not looked at: an NTP daemon that
// does not discipline the RTC leaves it set although the time is good.
func kernelTime() (KernelTime, error) {
	var t unix.Timex // its fields are 32 bits wide on 32-bit machines
	if _, err := unix.Adjtimex(&t); err != nil {
		return KernelTime{}, fmt.Errorf("reading the kernel's clock state: %w", err)
	}
	return KernelTime{MaxError: time.Duration(int64(t.Maxerror)) * time.Microsecond}, nil
}

var started = time.Now()

// boottime reads CLOCK_BOOTTIME, which counts suspended time as well.
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(started)
	}
	return time.Duration(ts.Nano())
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
