package gridsource

import (
	"cmp"
	"flag"
	"log/slog"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// None is the signal that knows nothing, not even what needs no key.
const None = "none"

// Flags are what programs with a grid signal are told about it. Where nobody names a provider it is NESO's live one, which needs no key. That knows the zone GB
// and its regions alone: for any other it sends no request and says that the zone is unknown, so that no machine elsewhere goes by British numbers.
type Flags struct {
	Grid        string
	Credentials string
	History     string

	Default string // what an empty Grid stands for; empty is neso
}

// Define adds the flags to a set. What an empty signal means to the program before it means the default precedes that in the help.
func (g *Flags) Define(f *flag.FlagSet, before string) {
	f.StringVar(&g.Grid, "grid", "", Usage+"; none knows nothing; empty "+before+"is NESO's live signal for zone GB, and knows no other zone")
	f.StringVar(&g.History, "grid-history-file", "", "file that keeps over restarts what the own forecast has learned from; empty asks the provider for its past")
	f.StringVar(&g.Credentials, "grid-credentials-file", "", "file with the grid provider's token, or user:password")
}

// Open returns the source that the flags name, nil for none.
func (g *Flags) Open(log *slog.Logger, now func() time.Time) (grid.Source, error) {
	if g.Grid == None {
		return nil, nil
	}
	f, err := Open(cmp.Or(g.Grid, g.Default, "neso"), Options{CredentialsFile: g.Credentials, HistoryFile: g.History, Logger: log, Now: now})
	if err != nil {
		return nil, err
	}
	return f, nil
}
