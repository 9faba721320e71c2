package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/sensors"
)

// table writes a file of samples of a straight line.
func tableFile(t *testing.T, rows int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("timestamp,utilization,inlet,watts\n")
	for i := range rows {
		u := float64(i*37%101) / 100
		c := 20 + float64(i*13%70)/10
		fmt.Fprintf(&b, "%d,%g,%g,%g\n", 1000+15*i, u, c, (100+150*u)*(1+0.004*(c-23)))
	}
	name := filepath.Join(t.TempDir(), "samples.csv")
	if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The JSON has the documented shape, the model file predicts what was measured, and the picture is one.
func TestCSVToModel(t *testing.T) {
	dir := t.TempDir()
	o := options{csv: tableFile(t, 900), inputs: "utilization,inlet", target: "watts", test: 0.33, json: true, name: "n",
		out: filepath.Join(dir, "model.json"), plot: filepath.Join(dir, "fit.png")}
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Samples int `json:"samples"`
		Forms   []struct {
			Form     string   `json:"form"`
			MAPE     *float64 `json:"mape"`
			RMSE     *float64 `json:"rmse"`
			Coverage *float64 `json:"coverage90"`
			Error    string   `json:"error"`
		} `json:"forms"`
		Chosen string `json:"chosen"`
		Test   struct {
			MAPE float64 `json:"mape"`
			From string  `json:"from"`
			To   string  `json:"to"`
		} `json:"test"`
	}
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Samples != 900 || got.Chosen != "linear" || len(got.Forms) < 4 || got.Test.MAPE > 0.5 || got.Test.From >= got.Test.To {
		t.Errorf("%+v", got)
	}
	for _, f := range got.Forms {
		if f.Error == "" && (f.MAPE == nil || f.RMSE == nil || f.Coverage == nil || *f.Coverage < 0 || *f.Coverage > 1) {
			t.Errorf("%+v", f)
		}
	}
	m, err := model.ReadFile(o.out)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Predictor()
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Predict(t.Context(), power.State{Utilization: 0.5, InletTemp: new(power.Celsius(25))})
	if want := 175 * 1.008; err != nil || float64(w) < want*0.99 || float64(w) > want*1.01 {
		t.Errorf("%v, %v: want %.1f W", w, err, want)
	}
	if png, err := os.ReadFile(o.plot); err != nil || !bytes.HasPrefix(png, []byte("\x89PNG")) {
		t.Errorf("the picture is no PNG (%v)", err)
	}
}

func TestDemoAndTable(t *testing.T) {
	var out bytes.Buffer
	o := options{demo: "PowerEdge R6525", inputs: "utilization,inlet", target: "watts", test: 0.33, plot: filepath.Join(t.TempDir(), "demo.svg")}
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"piecewise", "chosen", "made-up", "Test on the last"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table does not tell %q:\n%s", want, out.String())
		}
	}
}

// Bad input ends in an error that names the file, the line and the column, or the flag.
func TestBadInput(t *testing.T) {
	write := func(text string) string {
		name := filepath.Join(t.TempDir(), "bad.csv")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, c := range []struct {
		o    options
		want []string
	}{
		{options{csv: write("utilization,watts\n0.5,ten\n")}, []string{"bad.csv", "line 2", "watts"}},
		{options{csv: write("cpu,watts\n0.5,10\n")}, []string{"bad.csv", "line 1", "utilization"}},
		{options{csv: write("time,utilization,watts\n2,0.5,10\n1,0.5,10\n")}, []string{"bad.csv", "line 3", "time"}},
		{options{csv: write("")}, []string{"bad.csv", "empty"}},
		{options{csv: filepath.Join(t.TempDir(), "absent.csv")}, []string{"absent.csv"}},
		{options{}, []string{"-csv"}},
		{options{demo: "PowerEdge R6525", csv: "x"}, []string{"one of"}},
		{options{demo: "no such server"}, []string{"no such server"}},
		{options{demo: "PowerEdge R6525", test: 1}, []string{"-test"}},
		{options{demo: "PowerEdge R6525", inputs: "utilization,,"}, []string{"-inputs"}},
		{options{prometheus: "http://localhost:1"}, []string{"-query"}},
		{options{measure: measuring{on: true}}, []string{"-csv"}},
	} {
		if c.o.inputs == "" {
			c.o.inputs = "utilization"
		}
		c.o.target = "watts"
		err := run(t.Context(), c.o, io.Discard, io.Discard)
		if err == nil {
			t.Errorf("%+v: no error", c.o)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v: does not tell %q", err, w)
			}
		}
	}
}

// Columns of a range query are joined by time; more than one series is refused.
func TestPrometheus(t *testing.T) {
	series := 1
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.URL.Path != "/api/v1/query_range" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		start, _ := strconv.ParseFloat(r.Form.Get("start"), 64)
		end, _ := strconv.ParseFloat(r.Form.Get("end"), 64)
		step, _ := strconv.ParseFloat(r.Form.Get("step"), 64)
		var values [][]any
		for at := start; at <= end; at += step {
			u := float64(int(at/step)*37%101) / 100
			v := u
			if r.Form.Get("query") == "node_watts" {
				if v = 100 + 150*u; int(at/step)%50 == 0 {
					continue // a gap
				}
			}
			values = append(values, []any{at, strconv.FormatFloat(v, 'g', -1, 64)})
		}
		var result []map[string]any
		for i := range series {
			result = append(result, map[string]any{"metric": map[string]string{"instance": strconv.Itoa(i)}, "values": values})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}})
	}))
	defer srv.Close()
	o := options{prometheus: srv.URL, queries: queries{"utilization": "node_cpu", "watts": "node_watts"}, from: "4h", step: 15 * time.Second,
		inputs: "utilization", target: "watts", json: true}
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var got result
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Chosen != "linear" || got.Samples < 900 || got.Samples > 961 {
		t.Errorf("%s, %v", out.String(), err)
	}
	series = 2
	if err := run(t.Context(), o, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "2 series") {
		t.Errorf("two series: %v", err)
	}
}

// The token goes to the server that was named, and not to one that it redirects to.
func TestTokenStaysWithItsServer(t *testing.T) {
	t.Setenv("PROMETHEUS_TOKEN", "s3cret")
	leaked := make(chan string, 100)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked <- r.Header.Get("Authorization")
		http.Error(w, "no", http.StatusTeapot)
	}))
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			t.Error("the server did not get the token")
		}
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	o := options{prometheus: srv.URL, queries: queries{"utilization": "a", "watts": "b"}, from: "1h", step: 15 * time.Second, inputs: "utilization", target: "watts"}
	if err := run(t.Context(), o, io.Discard, io.Discard); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v", err)
	}
	for len(leaked) > 0 {
		if got := <-leaked; got != "" {
			t.Errorf("the other host got %q", got)
		}
	}
}

// A measurement that is interrupted keeps its rows, and the same command goes on where it stopped.
func TestMeasureResumes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "measured.csv")
	m := measuring{levels: "0,50,100", settle: time.Minute, hold: 2 * time.Minute, every: 5 * time.Second, emulate: "PowerEdge R740", node: "n"}
	lines := func() int {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(data, []byte("\n"))
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // in the second level
		defer cancel()
		err := m.run(ctx, name, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "resume") {
			t.Fatalf("interrupted: %v", err)
		}
	})
	if n := lines(); n <= 1+24 || n >= 1+48 {
		t.Fatalf("%d lines after the interruption", n)
	}
	// A crash cuts off a row.
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("1234,50,0.5"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(10 * time.Minute) // the bubble's clock starts anew: go past what was measured
		if err := m.run(t.Context(), name, &progress); err != nil {
			t.Fatal(err)
		}
	})
	if n := lines(); n != 1+3*24 {
		t.Errorf("%d lines at the end: want %d", n, 1+3*24)
	}
	if !strings.Contains(progress.String(), "measured already") {
		t.Errorf("the first level was measured again:\n%s", progress.String())
	}
	var out bytes.Buffer
	if err := run(t.Context(), options{csv: name, inputs: "utilization,inlet", target: "watts"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
}

// Sensors that fail once are asked again; those that go on failing end the measurement.
func TestMeasureFailingSensors(t *testing.T) {
	gen, err := newEmulation("PowerEdge R740")
	if err != nil {
		t.Fatal(err)
	}
	for _, lasting := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			src := sensors.SourceFunc(func(ctx context.Context, node string) ([]sensors.Reading, error) {
				if n++; lasting || n%3 == 0 {
					return nil, errors.New("the BMC does not answer")
				}
				return gen.Read(ctx, node)
			})
			m := measuring{hold: time.Minute, every: 5 * time.Second}
			err := m.walk(t.Context(), filepath.Join(t.TempDir(), "m.csv"), []int{0, 50}, src, gen, io.Discard)
			if lasting != (err != nil) {
				t.Errorf("lasting %v: %v", lasting, err)
			}
		})
	}
}

func TestParseCPU(t *testing.T) {
	busy, all, err := parseCPU([]byte("cpu  10 1 5 80 4 0 0 0 3 0\ncpu0 1 1\n"))
	if err != nil || busy != 16 || all != 100 {
		t.Errorf("%d of %d, %v", busy, all, err)
	}
	for _, bad := range []string{"", "cpu 1 2", "intr 1 2 3 4 5 6 7 8", "cpu a b c d e f g h"} {
		if _, _, err := parseCPU([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// The load generators end when they are told to.
func TestGeneratorsEnd(t *testing.T) {
	for _, g := range []generator{spinning(1), newGenerator()} {
		stop, err := g.run(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		stop()
	}
}

// A form that could not be fitted is listed with its reason and without figures.
func TestFailedFormsAreListed(t *testing.T) {
	report := &calibrate.Report{Forms: []calibrate.Candidate{{Form: "linear", MAPE: 0.01, RMSE: 2, Coverage90: 0.9}, {Form: "fan", Err: errors.New("the load never changes")}}}
	var out bytes.Buffer
	if err := (&result{Samples: 30, Chosen: "linear"}).writeJSON(&out, report); err != nil {
		t.Fatal(err)
	}
	want := `{"samples":30,"forms":[{"form":"linear","mape":1,"rmse":2,"coverage90":0.9},{"form":"fan","error":"the load never changes"}],"chosen":"linear"}`
	if got := strings.TrimSpace(out.String()); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
