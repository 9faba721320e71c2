package gridsource

import (
	"flag"
	"log/slog"
	"time"
)

// Flags are what programs with a grid signal are told about it.
type Flags struct {
	Grid        string
	Credentials string
}

// Define adds the flags to a set. What an empty signal means to the program follows Usage.
func (g *Flags) Define(f *flag.FlagSet, empty string) {
	f.StringVar(&g.Grid, "grid", "", Usage+empty)
	f.StringVar(&g.Credentials, "grid-credentials-file", "", "file with the grid provider's token, or user:password")
}

// Open returns the source that the flags name.
func (g *Flags) Open(log *slog.Logger, now func() time.Time) (*Feed, error) {
	return Open(g.Grid, Options{CredentialsFile: g.Credentials, Logger: log, Now: now})
}
