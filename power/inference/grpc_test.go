package inference_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/leastwatt/leastwatt/power/inference"
)

// fields returns the length-delimited fields of a message, by number, as an independent reader of the wire.
func fields(m []byte) map[protowire.Number][]byte {
	out := make(map[protowire.Number][]byte)
	for len(m) > 0 {
		n, t, k := protowire.ConsumeTag(m)
		m = m[k:]
		if t == protowire.BytesType {
			out[n], _ = protowire.ConsumeBytes(m)
		}
		m = m[protowire.ConsumeFieldValue(n, t, m):]
	}
	return out
}

func bytesField(n protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
}

// requested returns the rows of a request.
func requested(q []byte) [][]float64 {
	t := fields(fields(q)[5])
	n, k := protowire.ConsumeVarint(t[3])
	d, _ := protowire.ConsumeVarint(t[3][k:])
	values := fields(t[5])[6]
	rows := make([][]float64, n)
	for i := range rows {
		for range d {
			rows[i] = append(rows[i], float64(math.Float32frombits(binary.LittleEndian.Uint32(values))))
			values = values[4:]
		}
	}
	return rows
}

// answer answers with the truth in contents.fp32_contents.
func answer(_ context.Context, q []byte) ([]byte, error) {
	var values []byte
	for _, r := range requested(q) {
		values = binary.LittleEndian.AppendUint32(values, math.Float32bits(float32(truth(r))))
	}
	t := append(bytesField(1, []byte("watts")), bytesField(2, []byte("FP32"))...)
	t = append(t, bytesField(5, bytesField(6, values))...)
	return append(bytesField(1, []byte("m")), bytesField(5, t)...), nil
}

// raw answers as Triton does: contents empty, little-endian bytes beside the tensors.
func raw(_ context.Context, q []byte) ([]byte, error) {
	var values []byte
	for _, r := range requested(q) {
		values = binary.LittleEndian.AppendUint64(values, math.Float64bits(truth(r)))
	}
	t := append(bytesField(1, []byte("watts")), bytesField(2, []byte("FP64"))...)
	return append(bytesField(5, t), bytesField(6, values)...), nil
}

func TestGRPC(t *testing.T) {
	rows := [][]float64{{0.5, 24, 1}, {16, 30, 2}}
	for name, serve := range map[string]func(context.Context, []byte) ([]byte, error){"contents": answer, "raw": raw} {
		var last []byte
		m := must(inference.NewOpenInferenceGRPC(grpcServer(t, nil, func(ctx context.Context, q []byte) ([]byte, error) {
			last = q
			return serve(ctx, q)
		}), "model1", inference.OpenInferenceOptions{Version: "2", Output: "watts"}))
		out, err := m.Infer(t.Context(), rows)
		if err != nil || len(out) != 2 || out[0] != truth(rows[0]) || out[1] != truth(rows[1]) {
			t.Errorf("%s: %v, %v", name, out, err)
		}
		q := fields(last)
		in := fields(q[5])
		if string(q[1]) != "model1" || string(q[2]) != "2" || string(in[1]) != "predict-prob" || string(in[2]) != "FP32" {
			t.Errorf("%s: sent model %q version %q tensor %q of %q", name, q[1], q[2], in[1], in[2])
		}
		m.Close()
	}
}

func TestGRPCBadServers(t *testing.T) {
	tensor := func(datatype string, values []byte) []byte {
		return bytesField(5, append(bytesField(2, []byte(datatype)), bytesField(5, bytesField(6, values))...))
	}
	for name, c := range map[string]struct {
		answer []byte
		err    error
		want   string
	}{
		"error":      {nil, errors.New("no such model"), "no such model"},
		"empty":      {nil, nil, "0 output tensors"},
		"fewer rows": {tensor("FP32", make([]byte, 4)), nil, "1 numbers for 2 rows"},
		"more rows":  {tensor("FP32", make([]byte, 12)), nil, "12 bytes"},
		"half a row": {tensor("FP32", make([]byte, 7)), nil, "7 bytes"},
		"garbage":    {[]byte{0xff, 0xff, 0xff}, nil, "unusable answer"},
		"text":       {append(bytesField(5, bytesField(2, []byte("BYTES"))), bytesField(6, make([]byte, 8))...), nil, "BYTES"},
		"too long":   {bytesField(9, make([]byte, 5<<20)), nil, "ResourceExhausted"},
		"long words": {nil, errors.New(strings.Repeat("word ", 1000)), "…"},
	} {
		m := must(inference.NewOpenInferenceGRPC(grpcServer(t, nil, func(context.Context, []byte) ([]byte, error) { return c.answer, c.err }), "m",
			inference.OpenInferenceOptions{}))
		if out, err := m.Infer(t.Context(), [][]float64{{1}, {2}}); err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
			t.Errorf("%s: %v, %v; want an error with %q", name, out, err, c.want)
		}
		m.Close()
	}
	for _, target := range []string{"", "host:1", "http://host:1", "grpc://", "grpc://u:p@host:1", "grpc://host/path"} {
		if _, err := inference.NewOpenInferenceGRPC(target, "m", inference.OpenInferenceOptions{}); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("target %q: %v", target, err)
		}
	}
}
