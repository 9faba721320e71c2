package main

import (
	"testing"

	"github.com/spf13/pflag"
	adapter "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
)

// The limit of requests to the API server is ours, unless a flag says otherwise.
func TestRateOfRequests(t *testing.T) {
	for args, want := range map[string]float32{"": 100, "--client-qps=7": 7} {
		base := &adapter.AdapterBase{FlagSet: pflag.NewFlagSet("test", pflag.ContinueOnError)}
		if err := hasten(base); err != nil {
			t.Fatal(err)
		}
		if err := base.Flags().Parse([]string{args}); err != nil {
			t.Fatal(err)
		}
		if base.ClientQPS != want || base.ClientBurst != 200 {
			t.Errorf("%q: %v requests a second, %d at once; want %v and 200", args, base.ClientQPS, base.ClientBurst, want)
		}
	}
}
