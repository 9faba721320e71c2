package controllers

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

// Why nodes have no profile is told once in the log, for all objects of a kind together, and counted.
func TestProblemsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProblems()
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		told := func() string {
			out.Reset()
			p.tell(t.Context(), log)
			return out.String()
		}
		if got := told(); got != "" {
			t.Errorf("without problems: %s", got)
		}
		for _, node := range []string{"n1", "n2", "n3", "n4"} {
			p.set(node, "NodeConfig.wao/default/"+node, errors.New("type \"Fake\" measures nothing here"))
		}
		p.set("n5", "Peaks", ErrTaken)
		got := told()
		for _, want := range []string{"n1", "NodeConfig.wao/default/n3", "Fake", "and 1 more", "by=Peaks", "not ours"} {
			if !strings.Contains(got, want) {
				t.Errorf("the log lacks %q: %s", want, got)
			}
		}
		if strings.Count(got, "level=WARN") != 2 {
			t.Errorf("not one line of each kind: %s", got)
		}
		const metric = "# TYPE leastwatt_profile_problems gauge\nleastwatt_profile_problems{by=\"NodeConfig.wao\"} 4\nleastwatt_profile_problems{by=\"Peaks\"} 1\n"
		if err := testutil.CollectAndCompare(p, strings.NewReader("# HELP leastwatt_profile_problems "+help(p)+"\n"+metric)); err != nil {
			t.Error(err)
		}
		time.Sleep(tellAgain)
		if got := told(); got != "" {
			t.Errorf("what has not changed is told again: %s", got)
		}
		p.set("n5", "Peaks", nil)
		if got := told(); !strings.Contains(got, "level=INFO") || !strings.Contains(got, "by=Peaks") {
			t.Errorf("the end of a problem: %s", got)
		}
		if n := testutil.CollectAndCount(p); n != 2 {
			t.Errorf("%d series: one that is 0 now must not go", n)
		}
		p.set("n5", "Peaks", ErrTaken)
		if got := told(); got != "" {
			t.Errorf("it is told twice within a minute: %s", got)
		}
		time.Sleep(tellAgain)
		if got := told(); !strings.Contains(got, "level=WARN") {
			t.Errorf("a minute later: %s", got)
		}
	})
}

// The file by which the chart's rules are checked tells what is exported.
func TestMetricsFile(t *testing.T) {
	var lines []string
	for _, c := range []prometheus.Collector{newActions(), newProblems(), newCensus()} {
		ch := make(chan *prometheus.Desc, 10)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			m := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("cannot read what %T describes", c)
			}
			lines = append(lines, m[1]+" "+strings.ReplaceAll(m[2], ",", " ")+"\n")
		}
	}
	file, err := os.ReadFile(filepath.Join("..", "chart", "testdata", "controller_metrics.txt"))
	if want := strings.Join(lines, ""); err != nil || string(file) != want {
		t.Errorf("the file has %q, %v; want %q", file, err, want)
	}
}

func help(p *problems) string {
	_, text, _ := strings.Cut(p.desc.String(), `help: "`)
	text, _, _ = strings.Cut(text, `"`)
	return text
}

// An error that stays is no line of the log at each sweep.
func TestSweepErrorsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &sweeper{period: 10 * time.Minute, log: slog.New(slog.NewTextHandler(&out, nil))}
		away, gone := errors.New("PEAKS: no ConfigMap"), errors.New("PEAKS: no key")
		for i, step := range []struct {
			err   error
			after time.Duration
			lines int
		}{{away, 0, 1}, {away, 5 * time.Second, 0}, {gone, 5 * time.Second, 1}, {nil, 5 * time.Second, 0}, {gone, 5 * time.Second, 1}, {gone, 11 * time.Minute, 1}} {
			time.Sleep(step.after)
			out.Reset()
			s.tell(t.Context(), "models", step.err)
			if n := strings.Count(out.String(), "\n"); n != step.lines {
				t.Errorf("step %d, %v: %d lines, want %d: %s", i, step.err, n, step.lines, out.String())
			}
		}
	})
}

// Another reason of a failure is written although nothing else has changed, and although no sensor answers any more; what
// differs in numbers alone waits for the period.
func TestMessagesAreNews(t *testing.T) {
	s := &sweeper{period: 10 * time.Minute}
	status := func(message string) *v1alpha1.NodeProfileStatus {
		return &v1alpha1.NodeProfileStatus{Sensors: []v1alpha1.SensorStatus{{Name: "bmc", Message: message}},
			Conditions: []metav1.Condition{{Type: SensorsReady, Status: metav1.ConditionFalse, Reason: "Silent", Message: "bmc: " + message}}}
	}
	old := status("redfish: connection refused after 1m3.2s")
	for _, c := range []struct {
		message string
		since   time.Duration
		want    bool
	}{
		{"redfish: connection refused after 1m3.2s", time.Hour, false},
		{"redfish: 401 Unauthorized", time.Second, false},
		{"redfish: 401 Unauthorized", newMessage, true},
		{"redfish: connection refused after 250ms", newMessage, false},
		{"redfish: connection refused after 250ms", s.period, true},
	} {
		now := status(c.message)
		if s.worth(old, now) {
			t.Fatalf("%q is written at once", c.message)
		}
		if got := s.news(old, now, c.since); got != c.want {
			t.Errorf("%q after %v: %t, want %t", c.message, c.since, got, c.want)
		}
	}
}

// A label that a template has no more goes from its profiles, and so does what another template put there; labels of others
// stay.
func TestLabelsGoWithTheirTemplate(t *testing.T) {
	n := &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"team": "a"}}}
	for _, step := range []struct{ labels, want map[string]string }{
		{map[string]string{"rack": "r1", "row": "7"}, map[string]string{"team": "a", "rack": "r1", "row": "7"}},
		{map[string]string{"row": "8"}, map[string]string{"team": "a", "row": "8"}},
		{nil, map[string]string{"team": "a"}},
	} {
		w := &Wanted{By: "NodeProfileTemplate/x", Profile: v1alpha1.ProfileTemplate{Labels: step.labels}}
		w.put(n)
		if got, want := labelsText(n.Labels), labelsText(step.want); got != want {
			t.Errorf("after a template with %v: %s, want %s", step.labels, got, want)
		}
		before := n.DeepCopy()
		if w.put(n); labelsText(before.Annotations) != labelsText(n.Annotations) || labelsText(before.Labels) != labelsText(n.Labels) {
			t.Errorf("the same again changes %v into %v", before, n)
		}
	}
	if _, ok := n.Annotations[MadeLabels]; ok {
		t.Errorf("without labels: %v", n.Annotations)
	}
}

func labelsText(m map[string]string) string {
	return metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: m})
}
