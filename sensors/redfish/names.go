package redfish

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/leastwatt/leastwatt/sensors"
)

// inletByName tells whether a sensor's name says that it is the server's inlet, and how well: 0 is best.
// HPE has "01-Inlet Ambient", "15-Front Ambient" and "17-PS 1 Inlet", Dell "SystemBoardInletTemp" and
// "PCIe Inlet".
func inletByName(name string) (int, bool) {
	n := strings.ToLower(name)
	if part(n) {
		return 0, false
	}
	for i, word := range []string{"inlet", "intake", "ambient"} {
		if strings.Contains(n, word) {
			return i, true
		}
	}
	return 0, false
}

// part tells whether a name, in lower case, is of a part of the server: a supply, a card, a processor.
func part(name string) bool {
	for _, word := range []string{"psu", "power supply", "powersupply", "pcie", "pci", "cpu", "proc", "dimm", "memory", "gpu", "accelerator",
		"hdd", "ssd", "nvme", "drive", "disk", "nic", "ocp", "raid", "storage", "chipset", "battery", "exhaust", "outlet", "vrm", "bmc", "ilo"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	words := strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) })
	return slices.ContainsFunc(words, func(w string) bool { return w == "ps" || w == "mem" || w == "hd" || w == "vr" || w == "pch" })
}

// override splits the place of an override into a path and a JSON pointer.
func override(place string) (path, pointer string, err error) {
	path, pointer, _ = strings.Cut(place, "#")
	if !strings.HasPrefix(path, "/") {
		return "", "", fmt.Errorf("%w: %q is not a path that begins with /", sensors.ErrNoReading, place)
	}
	if pointer == "" {
		pointer = "/Reading"
	}
	if !strings.HasPrefix(pointer, "/") {
		return "", "", fmt.Errorf("%w: what follows # in %q does not begin with /", sensors.ErrNoReading, place)
	}
	return path, pointer, nil
}

// walk follows a JSON pointer (RFC 6901) and returns what it leads to, and the object that holds it.
func walk(v any, pointer string) (any, map[string]any, error) {
	var parent map[string]any
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		key = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[key]
			if !ok {
				return nil, nil, fmt.Errorf("no %q", key)
			}
			v, parent = next, at
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(at) {
				return nil, nil, fmt.Errorf("no element %q of %d", key, len(at))
			}
			v = at[i]
		default:
			return nil, nil, errors.New("it ends too soon")
		}
	}
	return v, parent, nil
}
