package trace_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
)

// A row as the Azure Public Dataset's README describes it: no header, the last bucket open.
const azureRows = "x/z,s1,d1,300,3900,91.77,25,20.8,Interactive,4,32\n" + "y,s1,d2,600,1200,99,0,90,Unknown,>24,>64\n"

func TestAzureVMs(t *testing.T) {
	want := []simulate.Job{
		{Name: "x/z", Duration: time.Hour, Requests: batch.Resources{CPU: 4, Memory: 32e9}, Use: 0.25, Class: "Interactive/4"},
		{Name: "y", Arrival: 5 * time.Minute, Duration: 10 * time.Minute, Requests: batch.Resources{CPU: 24, Memory: 64e9}, Use: 1e-9, Class: "Unknown/>24"},
	}
	header := strings.Join(trace.AzureVMs().Header, ",") + "\n"
	for _, text := range []string{azureRows, header + azureRows} {
		got, err := trace.Read("azure-vm", "vmtable.csv", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got.Jobs); d != "" {
			t.Error(d)
		}
	}
	_, err := trace.Read("azure-vm", "vmtable.csv", strings.NewReader("x,s,d,300,often,1,1,1,U,4,32\n"))
	var e *trace.Error
	if !errors.As(err, &e) || e.Line != 1 || e.Column != 11 {
		t.Errorf("the error does not name line 1, column 11: %v", err)
	}
}

func TestGoogleEvents(t *testing.T) {
	text := "0,,7,0,,0,u,2,9,0.5,0.25,0,\n" + // submitted
		"0,,7,1,,0,u,2,9,0.5,0.25,0,\n" +
		"1000000,,7,0,m,1,u,2,9,0.5,0.25,0,\n" + // scheduled
		"61000000,,7,0,m,4,u,2,9,0.5,0.25,0,\n" + // finished
		"61000000,,7,1,,5,u,2,9,0.5,0.25,0,\n" + // killed before it ran
		"62000000,,8,0,,0,u,2,9,0.5,0.25,0,\n" // never ends
	got, err := trace.GoogleEvents("part-0.csv", strings.NewReader(text), 32, 128e9)
	if err != nil {
		t.Fatal(err)
	}
	want := &trace.Result{Skipped: 2, Jobs: []simulate.Job{{Name: "7-0-0", Duration: time.Minute, Requests: batch.Resources{CPU: 16, Memory: 32e9}, Priority: 9, Class: "2/9"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := trace.GoogleEvents("part-0.csv", strings.NewReader("0,,7,0,,12,u,2,9,0.5,0.25,0,\n"), 32, 128e9); err == nil {
		t.Error("an event of type 12 passes")
	}
}

func TestGoogleTasks(t *testing.T) {
	text := "instance_id,submit_time,schedule_time,end_time,cpu_request,memory_request,priority,scheduling_class\n" +
		"a,0,500000,10500000,0.25,0.5,200,3\n" + "b,0,,,0.25,0.5,200,3\n"
	got, err := trace.GoogleTasks(32, 64e9).Read("tasks.csv", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &trace.Result{Skipped: 1, Jobs: []simulate.Job{{Name: "a", Duration: 10 * time.Second, Requests: batch.Resources{CPU: 8, Memory: 32e9}, Priority: 200, Class: "3/200"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
