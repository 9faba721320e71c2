package scheduler

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func served(t *testing.T, h http.Handler, url, accept string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), w.Body.String()
}

// Two pods that differ in their GPUs alone are told apart, in JSON and on the page.
func TestDecisionsTellGPUs(t *testing.T) {
	s := newSite(line(t, "a", 10, 50, 5))
	p := s.start(t, `{"gpuUsageAssumption":0.5}`)
	s.refresh(t, s.now, 0.5)
	with := pod("learner", "2")
	with.Spec.Containers[0].Resources.Requests["nvidia.com/gpu"] = resource.MustParse("3")
	for _, pd := range []*v1.Pod{with, pod("web", "2")} {
		p.Reserve(t.Context(), newState(), pd, "a")
	}
	_, body := served(t, p.decisions, DecisionsPath+"?pod=learner", "application/json")
	_, other := served(t, p.decisions, DecisionsPath+"?pod=web", "application/json")
	if !strings.Contains(body, `"cpu": 2,`) || !strings.Contains(body, `"gpus": 1.5,`) || !strings.Contains(other, `"gpus": 0,`) {
		t.Errorf("served %s and %s: want GPUs kept busy", body, other)
	}
	_, body = served(t, p.decisions, DecisionsPath+"?pod=learner", "text/html")
	_, other = served(t, p.decisions, DecisionsPath+"?pod=web", "text/html")
	if !strings.Contains(body, "2.000 cores, 1.5 GPUs.") || strings.Contains(other, "GPU") {
		t.Errorf("the pages are %s and %s", body, other)
	}
}

func TestDecisionsAreServed(t *testing.T) {
	s := newSite(line(t, "cheap", 10, 50, 5), line(t, "dear", 10, 50, 30), line(t, "dead", 10, 50, 1))
	s.specs[0].Model = "<script>alert(1)</script>"
	p := s.start(t, "")
	s.refresh(t, s.now, 0.5, 0.5, math.NaN())
	infos := s.infos()
	for _, name := range []string{"web-1", "web-2", "db-1"} {
		pd := pod(name, "2")
		cycle(t, p, pd, infos)
		p.Reserve(t.Context(), newState(), pd, "dear")
	}
	resp, body := served(t, p.decisions, DecisionsPath, "application/json")
	var got decisionsView
	if err := json.Unmarshal([]byte(body), &got); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s", err, body)
	}
	if len(got.Decisions) != 3 || got.Decisions[0].Name != "db-1" || got.Decisions[0].Unknown["unreachable"] != 1 {
		t.Fatalf("served %s", body)
	}
	d := got.Decisions[0]
	if len(d.Best) != 2 || *d.Best[0].WattsBefore != 75 || *d.Best[0].WattsAfter != 85 || *d.Best[0].Score != 100 || math.Abs(*d.Best[0].Cost-10) > 1e-9 ||
		d.Best[0].Source != "test" || d.Chosen != "dear" || d.ChosenNode == nil || math.Abs(*d.ChosenNode.Cost-60) > 1e-9 || d.ChosenNode.Reason == "" {
		t.Errorf("served %s", body)
	}
	if len(d.UnknownNodes) != 1 || d.UnknownNodes[0].Node != "dead" || d.UnknownNodes[0].Rank != 0 || d.UnknownNodes[0].Cost != nil ||
		!strings.Contains(d.UnknownNodes[0].Reason, "unreachable") {
		t.Errorf("unknown nodes are %+v: want dead, and why", d.UnknownNodes)
	}
	if _, body := served(t, p.decisions, DecisionsPath+"?format=json&pod=default/web&n=1", ""); strings.Count(body, `"profile"`) != 1 || !strings.Contains(body, "web-2") {
		t.Errorf("one decision on web is %s", body)
	}
	resp, body = served(t, p.decisions, DecisionsPath, "text/html,*/*")
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, "default/web-1") || !strings.Contains(body, ">75.00<") || !strings.Contains(body, "other plugins outweighed") || !strings.Contains(body, "<td>dead</td>") {
		t.Errorf("the page is %s", body)
	}
	if strings.Contains(body, "%!") {
		t.Errorf("the page is %s", body)
	}
	if strings.Contains(body, "<script>") {
		t.Error("a model's name is not escaped")
	}
	if resp, _ := served(t, p.decisions, DecisionsPath+"?n=none", ""); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("n=none: status %d", resp.StatusCode)
	}
	w := httptest.NewRecorder()
	p.decisions.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, DecisionsPath, nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
	if _, body := served(t, p.decisions, DecisionsPath+"?pod=nobody", "text/html"); !strings.Contains(body, "None of such a pod") || strings.Contains(body, "leader") {
		t.Errorf("the page of a pod that it has not seen is %s", body)
	}
	if _, body := served(t, p.decisions, DecisionsPath+"?pod=nobody", "application/json"); strings.TrimSpace(body) != "{\n  \"decisions\": []\n}" {
		t.Errorf("no decisions on a pod are %s", body)
	}
}

// A replica that does not lead must not look as if nothing had been decided.
func TestAReplicaThatDecidedNothingSaysThatAnotherMayLead(t *testing.T) {
	var got decisionsView
	if _, body := served(t, new(Decisions), DecisionsPath, "application/json"); json.Unmarshal([]byte(body), &got) != nil || got.Decisions == nil || len(got.Decisions) > 0 || !strings.Contains(got.Note, "only the leader decides") {
		t.Errorf("no decisions are %s", body)
	}
	if _, body := served(t, new(Decisions), DecisionsPath, "text/html"); !strings.Contains(body, "only the leader decides: see the Lease") {
		t.Errorf("the page without decisions is %s", body)
	}
}
