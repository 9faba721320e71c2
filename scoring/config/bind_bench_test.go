package config

import (
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
	"github.com/leastwatt/leastwatt/scoring"
)

// BenchmarkBind is what it takes to find what a machine draws: where its label names a published server, and where nobody knows its
// hardware's name and a prior is made.
func BenchmarkBind(b *testing.B) {
	known := power.Servers()[0]
	for name, label := range map[string]string{"published": known.Name(), "prior": "Nobody_Nothing_9000"} {
		b.Run(name, func(b *testing.B) {
			g := &guess{hardware: prior.Hardware{}}
			m := scoring.Machine{Name: "n", Cores: 64, Labels: map[string]string{HardwareLabel: label}}
			b.ReportAllocs()
			for b.Loop() {
				h := g.of(m, HardwareLabel)
				if _, err := prior.Default().Match(h, published()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
