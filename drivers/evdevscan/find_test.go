package evdevscan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The keys of a keyboard, of a media keyboard and of a power button as kernels show them, with words of 64 and 32 bits.
const (
	keyboardKeys64 = "1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe\n"
	keyboardKeys32 = "10000 7 ff9f207a c14057ff febeffdf ffefffff ffffffff fffffffe\n"
	mediaKeys64    = "3f000300000000 0 1000000000000 0 0 0 0 1500b00000c00 4000000000000 0 10000 0 0\n"
	buttonKeys     = "10000000000000 0\n"
)

// bus is a folder as /sys/class/input.
type bus struct {
	t    *testing.T
	root roots
}

func newBus(t *testing.T) bus {
	return bus{t, roots{sys: t.TempDir(), dev: "/dev/input"}}
}

func (b bus) add(node, name, vendor, product, keys string) {
	b.t.Helper()
	device := filepath.Join(b.root.sys, node, "device")
	for file, text := range map[string]string{"name": name + "\n", "id/vendor": vendor + "\n", "id/product": product + "\n", "capabilities/key": keys} {
		path := filepath.Join(device, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

func keys(size string) string {
	if native == layout64 {
		return map[string]string{"keyboard": keyboardKeys64, "media": mediaKeys64}[size]
	}
	return map[string]string{"keyboard": keyboardKeys32, "media": buttonKeys}[size]
}

func TestFind(t *testing.T) {
	b := newBus(t)
	b.add("event0", "Power Button", "0000", "0001", buttonKeys)
	b.add("event3", "Example Scanner", "0c2e", "0b61", keys("media"))
	b.add("event12", "Example Scanner", "0c2e", "0b61", keys("keyboard"))
	b.add("event4", "Twin", "1111", "2222", keys("keyboard"))
	b.add("event5", "Twin", "1111", "2222", keys("keyboard"))
	b.add("mouse0", "Lone", "3333", "4444", keys("keyboard"))
	for _, c := range []struct{ rule, device, want, wrong string }{
		{"a path is taken as it is", "/dev/input/by-id/usb-x-event-kbd", "/dev/input/by-id/usb-x-event-kbd", ""},
		{"a name is looked up among those that type", "Example Scanner", "/dev/input/event12", ""},
		{"so are vendor and product", "0c2e:0b61", "/dev/input/event12", ""},
		{"in any case", "0C2E:0B61", "/dev/input/event12", ""},
		{"two that match are none", "Twin", "", "2 input devices are Twin: give the path of one"},
		{"two of one number are none", "1111:2222", "", "2 input devices are 1111:2222"},
		{"one that types no letters is none", "Power Button", "", "is the reader plugged in"},
		{"an absent name", "Example", "", "no input device Example"},
		{"only event nodes count", "Lone", "", "no input device Lone"},
		{"an absent number", "0c2e:ffff", "", "no input device 0c2e:ffff"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p, err := parsePlace(c.device)
			if err != nil {
				t.Fatal(err)
			}
			got, err := b.root.find(p)
			if got != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("got %q, %v; want %q, %q", got, err, c.want, c.wrong)
			}
		})
	}
	if _, err := (roots{sys: filepath.Join(t.TempDir(), "none")}).find(place{name: "x"}); err == nil {
		t.Error("a machine without input devices gave none of its own error")
	}
}

func TestKeySetOfEitherWordSize(t *testing.T) {
	for text, size := range map[string]int{keyboardKeys64: 64, keyboardKeys32: 32} {
		s := parseKeySet(text, size)
		if !s.typesCodes() || !s.has(keyEnter) || !s.has(keyLeftShift) || s.has(0) || s.has(0x2ff) {
			t.Errorf("%d bits: %q is not read as a keyboard", size, text)
		}
	}
	for _, text := range []string{"", "xyz", mediaKeys64, buttonKeys, strings.Repeat("ffffffffffffffff ", 50) + "0"} {
		if s := parseKeySet(text, 64); s.typesCodes() {
			t.Errorf("%.40q is taken for a keyboard", text)
		}
	}
}
