package sensors

import (
	"fmt"
	"strings"
)

// Name returns what to call a source in metrics and errors: what its String method says, otherwise the
// package of its type: "redfish".
func Name(s SensorSource) string {
	if n, ok := s.(fmt.Stringer); ok {
		return n.String()
	}
	name, _, _ := strings.Cut(strings.TrimLeft(fmt.Sprintf("%T", s), "*"), ".")
	return name
}

func names(sources []SensorSource) string {
	all := make([]string, len(sources))
	for i, s := range sources {
		all[i] = Name(s)
	}
	return strings.Join(all, ",")
}
