package config

import "github.com/prometheus/client_golang/prometheus"

var badFiles = prometheus.NewDesc("leastwatt_model_files_bad", "Files of power models that cannot be used now; a file that was good before keeps its model.", []string{"model"}, nil)

// Describe implements [prometheus.Collector].
func (l *live) Describe(ch chan<- *prometheus.Desc) { ch <- badFiles }

// Collect implements [prometheus.Collector].
func (l *live) Collect(ch chan<- prometheus.Metric) {
	bad := make(map[string]int) // names need not differ
	for i := range l.config.Models {
		if x := &l.config.Models[i]; x.files != nil {
			bad[x.Name] += len(x.files.library.Set().Errors())
		}
	}
	for name, n := range bad {
		ch <- prometheus.MustNewConstMetric(badFiles, prometheus.GaugeValue, float64(n), name)
	}
}
