package netscan

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
)

// AnyUser in Options.Users lets every program of the device send.
const AnyUser = "any"

// systemUser tells whether a user stands for a service and not for a person: by Debian's policy (9.2.2), or as one that systemd
// made for a service with DynamicUser (its UIDS-GIDS.md).
func systemUser(number uint32) bool { return number <= 999 || number >= 61184 && number <= 65519 }

// senders says whose programs may send codes.
type senders struct {
	any     bool
	named   bool            // only those named, and the kernel must tell that it is one of them
	numbers map[uint32]bool // those named
}

// newSenders looks the users up. Without names they are root, the gate's own user and those of services, but not people, whose
// browsers run as they do; on Android programs have no such numbers, and whoever may open a socket in the file system may
// send to it.
func newSenders(users []string, network string) (senders, error) {
	if len(users) == 0 {
		return senders{any: network == "unix" || android()}, nil
	}
	s := senders{any: slices.Contains(users, AnyUser), named: true, numbers: map[uint32]bool{}}
	for _, name := range users {
		if name == AnyUser {
			continue
		}
		number, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			u, err := user.Lookup(name)
			if err != nil {
				return senders{}, fmt.Errorf("there is no user %q: %w", name, err)
			}
			if number, err = strconv.ParseUint(u.Uid, 10, 32); err != nil {
				return senders{}, fmt.Errorf("user %q: %w", name, err)
			}
		}
		s.numbers[uint32(number)] = true
	}
	return s, nil
}

// android tells whether this is Android, whose init sets that variable for every program. A gate there is a program for Linux.
func android() bool { return os.Getenv("ANDROID_ROOT") != "" }

// refuse returns why a program may not send, in words for the technician; "" if it may. uid is asked only where it matters.
func (s senders) refuse(uid func() (uint32, error)) string {
	if s.any {
		return ""
	}
	number, err := uid()
	switch {
	case err != nil && s.named:
		return "어느 사용자의 프로그램인지 알 수 없어 차단했습니다: listen = \"unix://…\"를 쓰거나 users를 비우세요" +
			" / a program was turned away because the kernel does not tell whose it is: use listen = \"unix://…\", or leave users out"
	case err != nil, s.numbers[number], !s.named && (systemUser(number) || int(number) == os.Geteuid()):
		return ""
	}
	return fmt.Sprintf("사용자 %[1]s의 프로그램을 차단했습니다: 스캔 서비스라면 users에 적으세요"+
		" / a program of user %[1]s was turned away: if it is the scan service, name that user in users", userName(number))
}

func userName(number uint32) string {
	text := strconv.FormatUint(uint64(number), 10)
	if u, err := user.LookupId(text); err == nil {
		return u.Username + " (" + text + ")"
	}
	return text
}
