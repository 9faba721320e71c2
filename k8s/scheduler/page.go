package scheduler

import (
	"bytes"
	_ "embed" // the page
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DecisionsPath is where programs serve the decisions.
const DecisionsPath = "/leastwatt/decisions"

//go:embed page.html
var pageText string

var page = template.Must(template.New("decisions").Funcs(template.FuncMap{"number": number}).Parse(pageText))

// undecided is what a replica says that has decided nothing: most likely it does not lead, and looks as if nothing had been decided at all.
const undecided = "None yet. With several replicas only the leader decides: see the Lease that leaderElection of the scheduler's configuration names, " +
	"kubectl -n NAMESPACE get lease NAME -o jsonpath='{.spec.holderIdentity}' (the pod's name, _ and an id), and ask that pod."

// number formats a number, or a dash where there is none.
func number(format string, v *float64) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf(format, *v)
}

// A view of a decision, as JSON and for the page. What is not known is null.
type (
	decisionsView struct {
		Decisions []decisionView `json:"decisions"`
		Note      string         `json:"note,omitempty"` // why there is none
	}
	decisionView struct {
		Time         time.Time       `json:"time"`
		Profile      string          `json:"profile"`
		Namespace    string          `json:"namespace"`
		Name         string          `json:"name"`
		UID          string          `json:"uid"`
		CPU          float64         `json:"cpu"`  // cores that the pod is expected to use
		GPUs         float64         `json:"gpus"` // that it is expected to keep busy
		Candidates   int             `json:"candidates"`
		Known        int             `json:"known"`
		OverCapacity int             `json:"overCapacity"`
		Unknown      map[string]int  `json:"unknown"` // by reason
		Best         []candidateView `json:"best"`
		UnknownNodes []candidateView `json:"unknownNodes"` // some of them, and why
		Chosen       string          `json:"chosen"`
		ChosenNode   *candidateView  `json:"chosenNode"`
		Shadow       bool            `json:"shadow"` // the plugin only watched
		Undone       bool            `json:"undone"`
	}
	candidateView struct {
		Node              string   `json:"node"`
		Rank              int      `json:"rank"` // 1 is best; 0 is not among the best
		Score             *int64   `json:"score"`
		WattsBefore       *float64 `json:"wattsBefore"`
		WattsAfter        *float64 `json:"wattsAfter"`
		Cost              *float64 `json:"cost"`
		Unit              string   `json:"unit"`
		UtilizationBefore *float64 `json:"utilizationBefore"`
		UtilizationAfter  *float64 `json:"utilizationAfter"`
		InletCelsius      *float64 `json:"inletCelsius"`
		GramsPerKWh       *float64 `json:"gramsPerKWh"`
		PricePerKWh       *float64 `json:"pricePerKWh"`
		TariffSource      string   `json:"tariffSource"`
		Model             string   `json:"model"`
		Prior             bool     `json:"prior"`
		Source            string   `json:"source"`
		AgeSeconds        *float64 `json:"ageSeconds"`
		Reason            string   `json:"reason"`
	}
)

// ServeHTTP serves the decisions, newest first: as JSON to a client that accepts application/json or asks for
// ?format=json, otherwise as a page. The parameter pod, NAMESPACE/NAME or a part of it, selects; n limits how
// many. A replica that has decided nothing says that another may lead. Whoever may read it learns names of pods and nodes: serve it behind the scheduler's authentication.
func (d *Decisions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET is served here", http.StatusMethodNotAllowed)
		return
	}
	q := r.URL.Query()
	n := math.MaxInt
	if text := q.Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			http.Error(w, "n: want a number of decisions, 1 or more", http.StatusBadRequest)
			return
		}
	}
	v := decisionsView{Decisions: []decisionView{}}
	for _, x := range d.last(r.Context(), n, q.Get("pod")) {
		v.Decisions = append(v.Decisions, viewOf(&x))
	}
	if len(v.Decisions) == 0 && d.none() {
		v.Note = undecided
	}
	var body bytes.Buffer
	var err error
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept")
	if q.Get("format") == "json" || strings.Contains(r.Header.Get("Accept"), "application/json") {
		h.Set("Content-Type", "application/json")
		e := json.NewEncoder(&body)
		e.SetIndent("", "  ")
		err = e.Encode(v)
	} else {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		err = page.Execute(&body, v)
	}
	if err != nil {
		http.Error(w, "cannot show the decisions: "+err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = body.WriteTo(w) // the client is gone if it fails
}

func viewOf(d *Decision) decisionView {
	v := decisionView{Time: d.Time, Profile: d.Profile, Namespace: d.Namespace, Name: d.Name, UID: string(d.UID), CPU: d.Demand.CPU, GPUs: d.Demand.GPUs,
		Candidates: d.Candidates, Known: d.Known, OverCapacity: d.OverCapacity, Unknown: d.Unknown, Best: make([]candidateView, len(d.Best)), UnknownNodes: make([]candidateView, len(d.UnknownNodes)),
		Chosen: d.Chosen, Shadow: d.Shadow, Undone: d.Undone}
	if v.Unknown == nil {
		v.Unknown = map[string]int{}
	}
	for i := range d.Best {
		v.Best[i] = viewOfCandidate(&d.Best[i])
	}
	for i := range d.UnknownNodes {
		v.UnknownNodes[i] = viewOfCandidate(&d.UnknownNodes[i])
	}
	if d.ChosenCandidate != nil {
		v.ChosenNode = new(viewOfCandidate(d.ChosenCandidate))
	}
	return v
}

func viewOfCandidate(c *Candidate) candidateView {
	v := candidateView{Node: c.Node, Rank: c.Rank, Unit: c.Cost.Unit.String(), Model: c.Model, Prior: c.Prior, Source: c.Source, Reason: c.Reason}
	if c.Score >= 0 {
		v.Score = new(c.Score)
	}
	if c.PowerErr == nil {
		v.WattsBefore, v.WattsAfter = new(float64(c.Before)), new(float64(c.After))
	}
	if c.Cost.Known() {
		v.Cost = new(c.Cost.Value)
		v.UtilizationBefore, v.UtilizationAfter = new(c.UtilizationBefore), new(c.UtilizationAfter)
	}
	if c.InletTemp != nil {
		v.InletCelsius = new(float64(*c.InletTemp))
	}
	if t := c.Tariff; t != nil && t.Err == nil {
		v.TariffSource = t.Source
		if t.IntensityErr == nil {
			v.GramsPerKWh = new(t.Intensity)
		}
		if t.PriceErr == nil {
			v.PricePerKWh = new(t.Price)
		}
	}
	if c.Source != "" && c.Source != "requests" { // which have no age
		v.AgeSeconds = new(c.Age.Seconds())
	}
	return v
}

// Verdict tells in a word what became of the scheduler's choice, for the page.
func (d decisionView) Verdict() string {
	switch {
	case d.Undone:
		return "did not get there"
	case d.Chosen == "":
		return "not placed yet"
	case d.Candidates == 0:
		return "placed without asking"
	case d.Known == 0:
		return "nothing was known"
	case d.ChosenNode == nil:
		return "placed on a node that is not known"
	case d.Best[0].Node == d.Chosen:
		return "placed where it costs least"
	}
	return "placed elsewhere: " + (&Decision{Shadow: d.Shadow}).elsewhere()
}

// A row of the page.
type row struct {
	C      candidateView
	Chosen bool
}

// Rows returns the best candidates, those that are unknown and, where it is not among them, the chosen one, for
// the page.
func (d decisionView) Rows() []row {
	rows := make([]row, 0, len(d.Best)+1)
	seen := false
	for _, c := range slices.Concat(d.Best, d.UnknownNodes) {
		rows = append(rows, row{c, c.Node == d.Chosen})
		seen = seen || c.Node == d.Chosen
	}
	if d.ChosenNode != nil && !seen {
		rows = append(rows, row{*d.ChosenNode, true})
	}
	return rows
}
