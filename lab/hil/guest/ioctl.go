package guest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlBytes makes a request whose argument is a structure of the kernel's, laid out in b.
func ioctlBytes(fd int, request uint, b []byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
		return errno
	}
	return nil
}
