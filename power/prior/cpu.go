package prior

import (
	"strings"
	"unicode"
)

// CPUModel brings the many spellings of a CPU's name to one: "Intel(R) Xeon(R) CPU E5-2660 v3 @ 2.60GHz" and
// "Intel Xeon E5-2660v3" are both "xeon e5-2660 v3". Without a model number it returns "".
func CPUModel(name string) string {
	family, number, version := splitCPU(name)
	if number == "" {
		return ""
	}
	return strings.TrimSpace(family + " " + number + " " + version)
}

// cpuSeries returns the generation that a CPU's name tells: "xeon e5-26xx v3", "epyc 7xx2", "xeon 83xx".
func cpuSeries(name string) string {
	family, number, version := splitCPU(name)
	end := strings.LastIndexFunc(number, unicode.IsDigit) + 1
	start := end
	for start > 0 && number[start-1] >= '0' && number[start-1] <= '9' {
		start--
	}
	if end-start < 3 {
		return ""
	}
	digits := number[start:end]
	if family == "epyc" {
		digits = digits[:1] + "xx" + digits[len(digits)-1:] // the last digit counts generations
	} else {
		digits = digits[:len(digits)-2] + "xx"
	}
	return strings.TrimSpace(family + " " + number[:start] + digits + " " + version)
}

// splitCPU finds the family, the model number and the version of a CPU's name.
func splitCPU(name string) (family, number, version string) {
	if len(name) > 256 {
		name = name[:256]
	}
	name = strings.ToLower(name)
	if i := strings.IndexAny(name, "@"); i >= 0 {
		name = name[:i]
	}
	fields := strings.FieldsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("()[],;/®™", r) })
	for _, f := range fields {
		switch {
		case f == "xeon" || f == "epyc" || f == "opteron" || f == "pentium" || f == "core" || f == "celeron" || f == "ryzen" || f == "thunderx2":
			if family == "" {
				family = f
			}
		case number == "" && isModelNumber(f):
			number = f
			// "e3-1280v2": a version that is written on
			if i := len(f) - 2; f[i] == 'v' && f[i-1] >= '0' && f[i-1] <= '9' && digitsOnly(f[i+1:]) {
				number, version = f[:i], f[i:]
			}
		case number != "" && version == "" && len(f) == 2 && f[0] == 'v' && digitsOnly(f[1:]):
			version = f
		}
	}
	return family, number, version
}

// isModelNumber tells whether a word is a model number: at least three digits in a row, and no unit.
func isModelNumber(f string) bool {
	if strings.Contains(f, "ghz") || strings.Contains(f, "mhz") || strings.Contains(f, ".") || strings.HasSuffix(f, "-core") {
		return false
	}
	run := 0
	for _, r := range f {
		if r >= '0' && r <= '9' {
			if run++; run == 3 {
				return true
			}
		} else {
			run = 0
		}
	}
	return false
}

func digitsOnly(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
