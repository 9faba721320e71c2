package profiles_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A node that is read already, and once an hour, is read at once when its profile comes, when that changes and when its
// Secret does.
func TestAProfileIsReadWhenItComes(t *testing.T) {
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	bmc := &door{live: machine}
	bmc.lock("one")
	url := listen(t, authority, bmc)
	secrets := new(vault)
	secrets.put("bmc", "one", authority, "")
	registry := prometheus.NewRegistry()
	p := start(t, profiles.Options{Secrets: secrets, Refresh: 50 * time.Millisecond, Interval: time.Hour, Registerer: registry})
	p.Put(scoring.Machine{Name: "a", Cores: 8})
	until(t, "it was read, and nobody could tell how", func() bool { return readsOfProfiles(t, registry) == 1 })
	n := &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "1"}, Spec: v1alpha1.NodeProfileSpec{
		Sensors: []v1alpha1.Sensor{{Type: "redfish", URL: url, SecretName: "bmc"}}}}
	p.SetProfile(n)
	until(t, "its sensor was read", func() bool { r := p.Report("a"); return !r.Waiting && r.Sensors[0].Answering })
}

// readsOfProfiles returns how many reads of nodes by their profiles have ended.
func readsOfProfiles(t *testing.T, r prometheus.Gatherer) (n uint64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "leastwatt_sensor_read_seconds" && m.GetLabel()[0].GetValue() == "profile" {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

// A Prometheus server that thousands of nodes' profiles name is not asked once for each while they come.
func TestASharedSourceIsAskedOnceForManyThatCome(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}))
	defer s.Close()
	registry := prometheus.NewRegistry()
	p := start(t, profiles.Options{Interval: time.Hour, Registerer: registry})
	const nodes = 300
	for i := range nodes {
		p.Put(scoring.Machine{Name: fmt.Sprint("n", i), Cores: 8, Labels: map[string]string{v1.LabelHostname: fmt.Sprint("n", i)}})
	}
	until(t, "the nodes were read, and nobody could tell how", func() bool { return readsOfProfiles(t, registry) == nodes })
	began := time.Now()
	for i := range nodes {
		p.SetProfile(&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i)}, Spec: v1alpha1.NodeProfileSpec{
			Sensors: []v1alpha1.Sensor{{Type: "prometheus", URL: s.URL, Queries: []v1alpha1.Query{{Kind: "power_watts", Expr: "node_watts"}}}}}})
	}
	until(t, "all were read", func() bool {
		for i := range nodes {
			if p.Report(fmt.Sprint("n", i)).Waiting {
				return false
			}
		}
		return true
	})
	if n, most := asked.Load(), 2+int64(time.Since(began)/time.Second); n > most {
		t.Errorf("the server was asked %d times for %d nodes in %v, want at most %d", n, nodes, time.Since(began), most)
	}
}
