// Endpoint-selector divides requests between endpoints where they cost the fewest watts.
//
// In a cluster it is a service proxy beside kube-proxy: it owns the Services that carry the label
// service.kubernetes.io/service-proxy-name: leastwatt: ClusterIP, NodePort, externalIPs and load balancer addresses, TCP, UDP
// and SCTP, of both families, with affinity, traffic policies, topology hints, health ports for load balancers and
// graceful termination. What of a Service it does not do gets an Event that says so. With -print it writes its rules
// instead of applying them, with -cleanup it removes every trace. Proxies of several names (-name) can share a node.
//
// It needs, in a cluster: one process a node (a DaemonSet) on the host's network (hostNetwork: true), as root with the
// capability NET_ADMIN alone; the programs nft and conntrack; NODE_NAME from the downward API; a kernel of 5.6 or later. No
// mount, no privileged mode. A role that may
//
//	list, watch     services, nodes                        (core)
//	list, watch     endpointslices                         (discovery.k8s.io)
//	create, patch   events                                 (events.k8s.io)
//
// and its usual arguments are
//
//	-config=/etc/leastwatt/config.yaml -cluster-cidr=POD_CIDR[,POD_CIDR6] -metrics-address=0.0.0.0:9418
//
// /healthz answers while the process lives, /readyz once the rules stand and as long as they are kept. An end by SIGTERM
// leaves the rules, so that traffic goes on until the next process adopts them; run it with -cleanup when it is removed
// for good. Rules that somebody flushed are written anew at the next refresh. Memory at 1,000 Services of 20 endpoints: 48 to 58 MB at rest, 68 MB at the start.
//
// With -gateway it writes no rules but the same shares as weights of the backendRefs of HTTPRoutes (Gateway API v1) that
// carry the annotation leastwatt.github.io/weights: "true", by server-side apply with the field manager leastwatt. One
// process in the cluster does that, more of them wait for its Lease; it needs no capability, host network or root, but
// POD_NAMESPACE and a role that may list, watch and patch httproutes (gateway.networking.k8s.io), list and watch
// nodes and endpointslices, create and patch events, and in its own namespace get, create and update leases
// (coordination.k8s.io).
//
// With -simulate it needs nothing: ten servers with published power curves and background load answer a day of
// requests, divided by each weigher, beside the exact optimum.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(laterGC) // one of these runs on every node: rather some CPU than twice the memory
	}
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, context.Canceled) {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "endpoint-selector:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flag.NewFlagSet("endpoint-selector", flag.ContinueOnError)
	fs.SetOutput(errOut)
	var (
		simulated = fs.Bool("simulate", false, "compare the weighers on ten simulated servers and exit")
		seed      = fs.Uint64("seed", 1, "seed of the simulated servers and their background")
		asJSON    = fs.Bool("json", false, "with -simulate: print one JSON object")
		requests  = fs.String("requests", "", "with -simulate: replay the requests of this `file` (counts, or a CSV of timestamps) instead of the embedded day")
		limit     = fs.Float64("limit", 1, "with -simulate: utilization up to which Optimal fills a server")
	)
	var f proxyFlags
	clean := fs.Bool("cleanup", false, "remove the rules for the Services of -name and exit")
	fs.BoolVar(&f.print, "print", false, "write the rules that would be applied and exit")
	fs.BoolVar(&f.gateway, "gateway", false, "write the weights of annotated HTTPRoutes instead of rules; one process in the cluster")
	fs.StringVar(&f.namespace, "namespace", cmp.Or(os.Getenv("POD_NAMESPACE"), "default"), "with -gateway: `namespace` of the lease; POD_NAMESPACE, else default")
	fs.StringVar(&f.lease, "lease", "leastwatt-endpoint-selector", "with -gateway: `name` of the Lease of the one process that writes; each installation of a namespace has its own")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "`file` that tells how to reach the cluster; from within one it is not needed")
	fs.StringVar(&f.name, "name", endpoints.DefaultName, "the Services whose label "+endpoints.NameLabel+" has this value")
	fs.StringVar(&f.node, "node", hostname(), "name of the node that this runs on; NODE_NAME, else the host's name")
	fs.StringVar(&f.config, "config", "", "YAML `file` of models and sensors; without it every Service is divided evenly")
	fs.StringVar(&f.metrics, "metrics-address", "", "`host:port` of /metrics and /healthz; empty for none")
	fs.StringVar(&f.localCIDRs, "cluster-cidr", "", "addresses of pods, separated by commas: connections from elsewhere are masqueraded")
	fs.StringVar(&f.rates.source, "rates", "", "where request rates come from: local (this node's new connections, as if all clients were here) or prometheus (new connections of all nodes, or what -rate-query counts); empty for annotations alone")
	fs.StringVar(&f.rates.url, "prometheus", "", "`URL` of a Prometheus: with -rates for the CPU of pods, with -rates=prometheus for the rates of all nodes")
	fs.StringVar(&f.rates.tokenFile, "prometheus-token-file", "", "`file` with the bearer token for it, read at every use")
	fs.StringVar(&f.rates.rateQ, "rate-query", defaultRateQuery, "PromQL of requests a second by namespace, service and port; without port it is a Service's only one. The default counts new connections, of which HTTP clients keep each for many requests: an ingress or a mesh counts requests")
	fs.StringVar(&f.rates.cpuQ, "cpu-query", defaultCPUQuery, "PromQL of cores in use by namespace and pod")
	fs.DurationVar(&f.rates.interval, "rate-interval", 15*time.Second, "how often rates are measured")
	fs.StringVar(&f.objective.unit, "objective", "", "what is least: watts, grams (of CO2 equivalent) or money; empty is what the section objective of -config says, else watts")
	fs.StringVar(&f.objective.intensity, "intensity", "", "CSV `file` of gCO2eq/kWh over time, a column a zone, instead of the sources of -config; nodes name theirs by the label "+zoneLabel)
	fs.StringVar(&f.objective.price, "price", "", "CSV `file` of prices per kWh over time, a column a zone; all in one currency, or with -exchange-rates")
	fs.StringVar(&f.objective.rates, "exchange-rates", "", "exchange rates into one currency where prices are in several: EUR=1.08,CAD=0.74,USD=1")
	fs.Float64Var(&f.objective.carbonPrice, "carbon-price", 0, "with -objective=money: money per tonne of CO2 equivalent")
	fs.DurationVar(&f.refresh, "refresh", 15*time.Second, "how often shares are computed anew without a change")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if *clean {
		return cleanup(ctx, f.name, nftables.Open)
	}
	if !*simulated {
		return proxy(ctx, f, out, slog.New(slog.NewTextHandler(errOut, nil)))
	}
	pattern := dayPattern()
	if *requests != "" {
		var err error
		if pattern, err = readRequests(*requests); err != nil {
			return err
		}
	}
	return simulate(ctx, out, *seed, pattern, *limit, *asJSON)
}
