package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// What a Prometheus server has of every server, under the names that Kepler and ipmi_exporter give it.
var queries = []struct {
	kind sensors.Kind
	expr string
	of   func(measurement) float64
}{
	{sensors.CPUUtilization, "kepler_node_cpu_usage_ratio", func(m measurement) float64 { return m.utilization }},
	{sensors.Power, "kepler_platform_watts", func(m measurement) float64 { return float64(m.watts) }},
	{sensors.InletTemp, "ipmi_temperature_celsius", func(m measurement) float64 { return float64(m.inlet) }},
}

// nodeLabel is the label of all series that names the server.
const nodeLabel = "node_name"

// promAPI answers instant queries about all servers at once, as a Prometheus server does that scrapes them: each
// query of package sensors/prometheus asks for values and for when they were measured.
type promAPI struct{ plant *plant }

// ServeHTTP implements [http.Handler].
func (a promAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := r.FormValue("query")
	for _, q := range queries {
		if !strings.Contains(asked, q.expr) {
			continue
		}
		now := fmt.Sprintf("%.3f", float64(time.Now().UnixMilli())/1000)
		var b bytes.Buffer
		b.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
		for i := range a.plant.fleet {
			if i > 0 {
				b.WriteByte(',')
			}
			node, value := a.plant.fleet[i].name, strconv.FormatFloat(q.of(a.plant.measure(i)), 'f', -1, 64)
			fmt.Fprintf(&b, `{"metric":{"__name__":%q,%q:%q,"leastwatt_part":"value"},"value":[%s,%q]},`, q.expr, nodeLabel, node, now, value)
			fmt.Fprintf(&b, `{"metric":{%q:%q,"leastwatt_part":"time"},"value":[%s,%q]}`, nodeLabel, node, now, now)
		}
		b.WriteString(`]}}`)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b.Bytes())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": "bad_data", "error": "no such series: " + cmp.Or(asked, "no query")})
}
