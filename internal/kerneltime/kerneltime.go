// Package kerneltime asks the kernel how well it knows the time and how long it has run. Nothing here sets a clock, so no
// capability is needed.
package kerneltime

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SyncedError is the kernel's own bound of its clock's error below which that clock counts as synchronised.
const SyncedError = time.Second

// MaxError is the kernel's bound of its wall clock's error, from adjtimex(2). It grows by 500 µs per second without an NTP
// daemon's word. The status bit STA_UNSYNC is not looked at: a daemon that does not discipline the RTC leaves it set
// although the time is good.
func MaxError() (time.Duration, error) {
	var t unix.Timex // its fields are 32 bits wide on 32-bit machines
	if _, err := unix.Adjtimex(&t); err != nil {
		return 0, fmt.Errorf("reading the kernel's clock state: %w", err)
	}
	return time.Duration(int64(t.Maxerror)) * time.Microsecond, nil
}

// Synced reports whether the kernel's wall clock is synchronised.
func Synced() bool {
	e, err := MaxError()
	return err == nil && e >= 0 && e < SyncedError
}

var started = time.Now()

// Boottime reads CLOCK_BOOTTIME, which nobody sets and which counts suspended time as well.
func Boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(started)
	}
	return time.Duration(ts.Nano())
}

// BootID names the present run of the kernel, empty if it cannot be told: readings of [Boottime] under one name are of one
// row.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
