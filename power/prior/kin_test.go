package prior_test

import (
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
)

func TestSameSystem(t *testing.T) {
	for _, x := range []struct {
		a, b string
		want bool
	}{
		{"PowerEdge R740", "Dell PowerEdge R740 (Intel Xeon Gold 6140, 2.30 GHz)", true},
		{"Dell Inc. PowerEdge R740", "Dell PowerEdge R740", true},
		{"HPE ProLiant DL360 Gen10", "Hewlett Packard Enterprise ProLiant DL360 Gen10", true},
		{"Dell Inc. PowerEdge R740xd", "Dell PowerEdge R740", false},
		{"ProLiant DL360 Gen10", "ProLiant DL360 Gen10 Plus", false},
		{"R740", "Dell PowerEdge R740", false},
		{"Server", "Contoso Server", false},
		{"", "", false}, {"", "Dell PowerEdge R740", false}, {"Inc.", "Inc.", false},
	} {
		if prior.SameSystem(x.a, x.b) != x.want || prior.SameSystem(x.b, x.a) != x.want {
			t.Errorf("%q and %q: want %v", x.a, x.b, x.want)
		}
	}
	// No two servers of the table are the same by their names, unless their names but for brackets are.
	for i, a := range power.Servers() {
		for _, b := range power.Servers()[:i] {
			if prior.SameSystem(a.Name(), b.Name()) && a.Model != b.Model {
				t.Errorf("%q is taken for %q", a.Name(), b.Name())
			}
		}
	}
}
