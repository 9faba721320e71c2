package prometheus

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// A plainPoint is a point that lasts.
type plainPoint struct {
	node, part string
	named      bool
	value      float64
}

func points(body []byte) ([]plainPoint, error) {
	var all []plainPoint
	err := readVector(body, "node", func(p *point) {
		all = append(all, plainPoint{string(p.node), string(p.part), p.node != nil, p.value})
	})
	return all, err
}

// reference is readVector by encoding/json.
func reference(body []byte) ([]plainPoint, error) {
	object := func(raw json.RawMessage) (m map[string]json.RawMessage, err error) {
		if err = json.Unmarshal(raw, &m); err == nil && m == nil {
			err = errors.New("null")
		}
		return m, err
	}
	text := func(raw json.RawMessage) (s *string, err error) {
		if err = json.Unmarshal(raw, &s); err == nil && s == nil {
			err = errors.New("null")
		}
		return s, err
	}
	if !utf8.Valid(body) {
		return nil, errors.New("UTF-8")
	}
	top, err := object(body)
	if err != nil {
		return nil, err
	}
	if status, err := text(top["status"]); err != nil || *status != "success" {
		return nil, fmt.Errorf("status %w", err)
	}
	data, err := object(top["data"])
	if err != nil {
		return nil, err
	}
	if kind, err := text(data["resultType"]); err != nil || *kind != "vector" {
		return nil, fmt.Errorf("type %w", err)
	}
	var result []json.RawMessage
	if err := json.Unmarshal(data["result"], &result); err != nil || result == nil {
		return nil, fmt.Errorf("result %w", err)
	}
	var all []plainPoint
	for _, raw := range result {
		series, err := object(raw)
		if err != nil {
			return nil, err
		}
		var p plainPoint
		if m, ok := series["metric"]; ok {
			labels, err := object(m)
			if err != nil {
				return nil, err
			}
			for label, into := range map[string]*string{"node": &p.node, partLabel: &p.part} {
				raw, ok := labels[label]
				if !ok {
					continue
				}
				s, err := text(raw)
				if err != nil {
					return nil, err
				}
				*into, p.named = *s, p.named || label == "node"
			}
		}
		if v, ok := series["value"]; ok {
			var pair []json.RawMessage
			var at json.Number
			if err := json.Unmarshal(v, &pair); err != nil || len(pair) != 2 {
				return nil, fmt.Errorf("pair %w", err)
			}
			if err := json.Unmarshal(pair[0], &at); err != nil || at == "" || pair[0][0] == '"' {
				return nil, fmt.Errorf("time %w", err)
			}
			s, err := text(pair[1])
			if err != nil {
				return nil, err
			}
			if p.value, err = strconv.ParseFloat(*s, 64); err != nil {
				return nil, err
			}
		} else if _, ok := series["histogram"]; !ok {
			return nil, errors.New("no value")
		}
		if _, ok := series["histogram"]; !ok {
			all = append(all, p)
		}
	}
	return all, nil
}

func samePoint(a, b plainPoint) bool {
	return a.node == b.node && a.part == b.part && a.named == b.named && math.Float64bits(a.value) == math.Float64bits(b.value)
}

// writeAnswer makes an answer that Prometheus, or a proxy that writes JSON in its own way, may give.
func writeAnswer(rng *rand.Rand) []byte {
	space := func() string { return []string{"", "", "", " ", "\n\t"}[rng.IntN(5)] }
	quote := func(s string) string {
		b, _ := json.Marshal(s)
		if rng.IntN(8) > 0 || len(s) == 0 || s[0] >= utf8.RuneSelf {
			return string(b)
		}
		return fmt.Sprintf(`"\u%04x%s`, s[0], string(b)[1+len(strings.TrimSuffix(strings.TrimPrefix(quoted(s[:1]), `"`), `"`)):])
	}
	object := func(members ...string) string {
		rng.Shuffle(len(members), func(i, k int) { members[i], members[k] = members[k], members[i] })
		return "{" + space() + strings.Join(members, space()+","+space()) + space() + "}"
	}
	member := func(key, value string) string { return quote(key) + space() + ":" + space() + value }
	other := func() string {
		return []string{`null`, `true`, `false`, `[]`, `{}`, `[1,{"a":[-0.5e+3,"\\"]}]`, `1E9`, `"x\ud83d\ude00"`}[rng.IntN(8)]
	}
	texts := []string{"n1", "n2", "", "ä", `a"b`, "a\\b", "\u2028", "10.0.0.7:9290", "value", "time"}
	values := []string{"1", "-0", "1e-7", "NaN", "+Inf", "-Inf", "1700000000.5", "0x1p-2"}
	var series []string
	for range rng.IntN(6) {
		var labels, members []string
		for _, l := range []string{"node", partLabel, "__name__", "zone"} {
			if rng.IntN(4) > 0 {
				labels = append(labels, member(l, quote(texts[rng.IntN(len(texts))])))
			}
		}
		if rng.IntN(8) > 0 {
			members = append(members, member("metric", object(labels...)))
		}
		if rng.IntN(8) > 0 {
			members = append(members, member("value", "["+space()+[]string{"1700000000", "1700000000.123", "-1", "0", "0.5e-3"}[rng.IntN(5)]+","+space()+quote(values[rng.IntN(len(values))])+"]"))
		} else {
			members = append(members, member("histogram", other()))
		}
		if rng.IntN(4) == 0 {
			members = append(members, member("Value", other()))
		}
		series = append(series, object(members...))
	}
	data := []string{member("resultType", `"vector"`), member("result", "["+strings.Join(series, space()+",")+space()+"]")}
	if rng.IntN(4) == 0 {
		data = append(data, member("stats", other()))
	}
	return []byte(space() + object(member("status", `"success"`), member("data", object(data...)), member("warnings", other())) + space())
}

func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

// What an answer says does not depend on who reads it.
func TestVectorIsReadAsJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		body := writeAnswer(rng)
		want, err := reference(body)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		got, err := points(body)
		if err != nil || !slices.EqualFunc(got, want, samePoint) {
			t.Fatalf("%s\ngives %+v, %v\n want %+v", body, got, err, want)
		}
		body[rng.IntN(len(body))] = `"{}[],:\0x `[rng.IntN(11)]
		checkRead(t, body)
	}
}

// checkRead fails if an answer is taken that is none, or means something else.
func checkRead(t *testing.T, body []byte) {
	t.Helper()
	got, err := points(body)
	if err != nil {
		return
	}
	if want, err := reference(body); err != nil || !slices.EqualFunc(got, want, samePoint) {
		t.Fatalf("%s\ngives %+v\n want %+v, %v", body, got, want, err)
	}
}

func FuzzVector(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add(writeAnswer(rng))
	}
	f.Add([]byte(`{"status":"success","data":{"result":[{"value":[1,"1"],"value":[1,"2"]}],"resultType":"vector"}}`))
	f.Add([]byte(`{"status":"error","errorType":"execution","error":"too many samples"}`))
	f.Fuzz(func(t *testing.T, body []byte) { checkRead(t, body) })
}

func TestVectorTellsWhatIsWrong(t *testing.T) {
	for body, want := range map[string]string{
		`{"status":"error","errorType":"execution","error":"too many samples"}`:                                             "execution: too many samples",
		`{"status":"success","data":{"resultType":"matrix","result":[]}}`:                                                   "matrix, want an instant vector",
		`{"status":"success","data":{"result":[]}}`:                                                                         "nothing, want an instant vector",
		`{"status":"success","data":{"resultType":"vector"}}`:                                                               "no result",
		`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,2]}]}}`:                                    "at byte 72: want '\"'",
		`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]},{}]}}`:                               "series 1 of the vector: the value is no pair",
		`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"],"value":[1,"2"]}]}}`:                  "twice",
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"node":"a","node":"b"},"value":[1,"1"]}]}}`: "twice",
		`{"status":"success","data":{"resultType":"vector","result":[]}} {}`:                                                "more after the answer",
		`{"status":"success","x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`:                            "too deep",
		"{\"status\":\"success\xff\"}":                                                                                      "UTF-8",
	} {
		if _, err := points([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", body, err, want)
		}
	}
}

// manySeries is an answer about n nodes.
func manySeries(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"metric":{"__name__":"kepler_platform_watts","node":"node-%04d","leastwatt_part":"value"},"value":[1700000000.123,"%d.25"]},`, i, i)
		fmt.Fprintf(&b, `{"metric":{"node":"node-%04d","leastwatt_part":"time"},"value":[1700000000.123,"1700000000.05"]}`, i)
	}
	b.WriteString("]}}")
	return []byte(b.String())
}

// However many nodes an answer is about, what is allocated for reading it is the same.
func TestVectorOfManyNodesAllocatesAsMuchAsOfFew(t *testing.T) {
	allocations := func(n int) float64 {
		body, series := manySeries(n), 0
		a := testing.AllocsPerRun(10, func() {
			if err := readVector(body, "node", func(*point) { series++ }); err != nil {
				t.Fatal(err)
			}
		})
		if series != 11*2*n {
			t.Fatalf("%d series, want %d", series, 11*2*n)
		}
		return a
	}
	if few, many := allocations(10), allocations(1000); many != few {
		t.Errorf("%v allocations for 1,000 nodes and %v for 10", many, few)
	}
}

func BenchmarkVector(b *testing.B) {
	body := manySeries(5000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := readVector(body, "node", func(*point) {}); err != nil {
			b.Fatal(err)
		}
	}
}
