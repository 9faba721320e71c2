// Estimator serves WAO's estimator call: the least watts that 1 … K further workloads add to a cluster.
//
//	go run ./examples/estimator -listen 127.0.0.1:8099
//	curl -d '{"cpu_milli":500,"num_workloads":5}' http://127.0.0.1:8099/namespaces/default/estimators/default/values/powerconsumption
//
// Without -listen it asks itself once and prints the answer. The cluster is -servers published servers, each busy with -load of its
// cores; a program with live sensors gives its own [estimator.Lookup] instead.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/batch/estimator"
)

func main() {
	listen := flag.String("listen", "", "address to serve at until interrupted; empty asks once and ends")
	servers := flag.Int("servers", 24, "servers of the cluster, from the table of published curves")
	load := flag.Float64("load", 0.4, "share of each server's cores in use, 0 to 1")
	body := flag.String("ask", `{"cpu_milli":4000,"num_workloads":8}`, "what is asked without -listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *listen, *servers, *load, *body); err != nil {
		fmt.Fprintln(os.Stderr, "estimator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, listen string, servers int, load float64, body string) error {
	nodes, err := cluster(servers, load)
	if err != nil {
		return err
	}
	h := estimator.Handler{Lookup: func(ctx context.Context, namespace, name string) (*batch.Cluster, func(), error) {
		if namespace != "default" || name != "default" {
			return nil, nil, estimator.ErrNotFound
		}
		c, err := batch.NewCluster(ctx, nodes, batch.ClusterOptions{})
		return c, nil, err
	}}
	once := listen == ""
	if once {
		listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	url := fmt.Sprintf("http://%s/namespaces/default/estimators/default/values/powerconsumption", l.Addr())
	if once {
		err = ask(ctx, out, url, body)
	} else {
		fmt.Fprintln(out, "POST", url)
		select {
		case <-ctx.Done():
		case err = <-served:
			return err
		}
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, s.Shutdown(stopping))
}

// cluster draws servers from the published table, busy with a share of their cores.
func cluster(n int, load float64) ([]batch.Node, error) {
	published := power.Servers()
	if n < 1 || n > 100_000 || !(load >= 0 && load <= 1) {
		return nil, fmt.Errorf("%d servers at load %v: want 1 to 100000 at 0 to 1", n, load)
	}
	nodes := make([]batch.Node, n)
	for i := range nodes {
		s := published[(i*37)%len(published)]
		cores := float64(s.Cores)
		nodes[i] = batch.Node{Node: scoring.Node{Name: fmt.Sprintf("server-%05d", i+1), Capacity: power.Capacity{Cores: cores}, Predictor: s.Curve(),
			State: power.State{Utilization: load}}, Allocatable: batch.Resources{CPU: cores * (1 - load)}}
	}
	return nodes, nil
}

// ask sends one request and prints the answer.
func ask(ctx context.Context, out io.Writer, url, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	began := time.Now()
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, 1<<20))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n%s%s in %.1f ms\n", body, text, a.Status, time.Since(began).Seconds()*1000)
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", a.Status)
	}
	return nil
}
