package evdevscan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// roots are the folders in which the kernel shows its input devices.
type roots struct {
	sys string // one folder for each device, with its name and number
	dev string // the devices themselves
}

var kernelRoots = roots{sys: "/sys/class/input", dev: "/dev/input"}

// find returns the path of the device at a place. What matches by name or number and cannot type a code is passed over:
// scanners often come with a device for media keys beside.
func (r roots) find(p place) (string, error) {
	if p.path != "" {
		return p.path, nil
	}
	entries, err := os.ReadDir(r.sys)
	if err != nil {
		return "", fmt.Errorf("looking for the input device %s: %w", p, err)
	}
	var found []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "event") || !r.matches(p, e.Name()) {
			continue
		}
		found = append(found, filepath.Join(r.dev, e.Name()))
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("there is no input device %s that types letters and digits: is the reader plugged in, and set to keyboard?", p)
	case 1:
		return found[0], nil
	default:
		slices.Sort(found)
		return "", fmt.Errorf("%d input devices are %s: give the path of one below %s/by-id or by-path", len(found), p, r.dev)
	}
}

func (r roots) matches(p place, node string) bool {
	device := filepath.Join(r.sys, node, "device")
	if p.byID {
		vendor, errV := readHex(filepath.Join(device, "id", "vendor"))
		product, errP := readHex(filepath.Join(device, "id", "product"))
		if errors.Join(errV, errP) != nil || vendor != p.vendor || product != p.product {
			return false
		}
	} else {
		name, err := os.ReadFile(filepath.Join(device, "name"))
		if err != nil || strings.TrimSpace(string(name)) != p.name {
			return false
		}
	}
	text, err := os.ReadFile(filepath.Join(device, "capabilities", "key"))
	if err != nil {
		return false
	}
	keys := parseKeySet(string(text), strconv.IntSize)
	return keys.typesCodes()
}

func readHex(path string) (uint16, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 16, 16)
	return uint16(n), err
}

// parseKeySet reads a bitmap as sysfs shows it: words of the size given in bits, in hex, the highest first, beginning with
// the highest that is not zero. Words of a program's own size are shown to it, whatever the kernel's. What is no such
// bitmap gives an empty set.
func parseKeySet(text string, size int) (s keySet) {
	words := strings.Fields(text)
	slices.Reverse(words)
	for i, word := range words {
		bits, err := strconv.ParseUint(word, 16, size)
		if err != nil {
			return keySet{}
		}
		for b := range size {
			if code := i*size + b; bits>>b&1 == 1 && code < keyCount {
				s.add(uint16(code))
			}
		}
	}
	return s
}
