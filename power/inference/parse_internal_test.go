package inference

import "testing"

func FuzzOpenInferenceAnswer(f *testing.F) {
	for _, s := range []string{`{"outputs":[{"data":[1,2]}]}`, `{"outputs":[{"name":"w","data":[[1],[null]]}]}`, `{"error":"x"}`, `{"outputs":[{"data":{}}]}`} {
		f.Add([]byte(s), 2)
	}
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		n = 1 + max(n, 0)%100
		o := OpenInferenceOptions{}
		if out, err := o.parse(body, n); err == nil && len(out) != n {
			t.Fatalf("%d numbers for %d rows", len(out), n)
		}
	})
}

func FuzzTensorFlowAnswer(f *testing.F) {
	for _, s := range []string{`{"outputs":[[1],[2]]}`, `{"predictions":[1,2]}`, `{"predictions":[{"w":[1]},{"w":2}]}`, `{"outputs":{"w":[1,2]}}`} {
		f.Add([]byte(s), 2, true, "w")
	}
	f.Fuzz(func(t *testing.T, body []byte, n int, instances bool, output string) {
		n = 1 + max(n, 0)%100
		o := TensorFlowOptions{Instances: instances, Output: output}
		if out, err := o.parse(body, n); err == nil && len(out) != n {
			t.Fatalf("%d numbers for %d rows", len(out), n)
		}
	})
}

func FuzzGRPCAnswer(f *testing.F) {
	f.Add([]byte{0x2a, 6, 0x12, 4, 'F', 'P', '3', '2', 0x32, 4, 0, 0, 128, 63}, 1)
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		n = 1 + max(n, 0)%100
		if out, err := decodeInfer(body, "", n); err == nil && len(out) != n {
			t.Fatalf("%d numbers for %d rows", len(out), n)
		}
	})
}

func TestNamedOutputs(t *testing.T) {
	o := TensorFlowOptions{Instances: true, Output: "w"}
	if out, err := o.parse([]byte(`{"predictions":[{"w":[1],"x":9},{"w":2}]}`), 2); err != nil || out[0] != 1 || out[1] != 2 {
		t.Errorf("predictions: %v, %v", out, err)
	}
	o.Instances = false
	if out, err := o.parse([]byte(`{"outputs":{"x":[9,9],"w":[[1],[2]]}}`), 2); err != nil || out[0] != 1 || out[1] != 2 {
		t.Errorf("outputs: %v, %v", out, err)
	}
}
