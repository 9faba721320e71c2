package forecast

import "strings"

// fault is what tells an error from another one in the log: its text without the numbers, which may be ports and times of a fault that goes on.
func fault(err error) string {
	if err == nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}
