package inference

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of the Open Inference Protocol's grpc_predict_v2.proto that are needed here, written and read
// field by field: ModelInferRequest, ModelInferResponse, InferTensorContents.
const (
	requestModel   protowire.Number = 1
	requestVersion protowire.Number = 2
	requestInputs  protowire.Number = 5

	responseOutputs protowire.Number = 5
	responseRaw     protowire.Number = 6

	tensorName     protowire.Number = 1
	tensorDatatype protowire.Number = 2
	tensorShape    protowire.Number = 3
	tensorContents protowire.Number = 5

	contentsFP32 protowire.Number = 6
	contentsFP64 protowire.Number = 7
)

// wire is an encoded message.
type wire []byte

// wireCodec passes messages through as they are. Its name is that of the content type that servers expect.
type wireCodec struct{}

func (wireCodec) Name() string { return "proto" }

func (wireCodec) Marshal(v any) ([]byte, error) {
	if w, ok := v.(*wire); ok {
		return *w, nil
	}
	return nil, fmt.Errorf("cannot send a %T", v)
}

func (wireCodec) Unmarshal(data []byte, v any) error {
	w, ok := v.(*wire)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	*w = append((*w)[:0], data...)
	return nil
}

func appendText(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func appendMessage(b []byte, n protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), m)
}

func encodeInfer(model string, o *OpenInferenceOptions, rows [][]float64) wire {
	var values, contents, shape, t []byte
	field := contentsFP32
	for _, r := range rows {
		for _, v := range r {
			if o.Datatype == fp64 {
				values = binary.LittleEndian.AppendUint64(values, math.Float64bits(v))
			} else {
				values = binary.LittleEndian.AppendUint32(values, math.Float32bits(float32(v)))
			}
		}
	}
	if o.Datatype == fp64 {
		field = contentsFP64
	}
	contents = appendMessage(contents, field, values) // packed
	shape = protowire.AppendVarint(shape, uint64(len(rows)))
	shape = protowire.AppendVarint(shape, uint64(len(rows[0])))
	t = appendText(t, tensorName, o.Input)
	t = appendText(t, tensorDatatype, o.Datatype)
	t = appendMessage(t, tensorShape, shape)
	t = appendMessage(t, tensorContents, contents)
	var m []byte
	m = appendText(m, requestModel, model)
	if o.Version != "" {
		m = appendText(m, requestVersion, o.Version)
	}
	return appendMessage(m, requestInputs, t)
}

// each calls f for every field of a message; b is the content of a length-delimited field and nil otherwise.
func each(m []byte, f func(n protowire.Number, t protowire.Type, value uint64, b []byte) error) error {
	for len(m) > 0 {
		n, t, k := protowire.ConsumeTag(m)
		if k < 0 {
			return fmt.Errorf("%w: %v", ErrAnswer, protowire.ParseError(k))
		}
		m = m[k:]
		var value uint64
		var b []byte
		switch t {
		case protowire.VarintType:
			value, k = protowire.ConsumeVarint(m)
		case protowire.Fixed32Type:
			var v uint32
			v, k = protowire.ConsumeFixed32(m)
			value = uint64(v)
		case protowire.Fixed64Type:
			value, k = protowire.ConsumeFixed64(m)
		case protowire.BytesType:
			b, k = protowire.ConsumeBytes(m)
		default:
			k = protowire.ConsumeFieldValue(n, t, m)
		}
		if k < 0 {
			return fmt.Errorf("%w: %v", ErrAnswer, protowire.ParseError(k))
		}
		if err := f(n, t, value, b); err != nil {
			return err
		}
		m = m[k:]
	}
	return nil
}

// tensor is an output: its values stand in its contents, or raw beside all outputs.
type tensor struct {
	name, datatype string
	values         []float64
}

// decodeInfer returns the n numbers of the named output, or of the first.
func decodeInfer(m wire, output string, n int) ([]float64, error) {
	var outputs []tensor
	var raws [][]byte
	err := each(m, func(f protowire.Number, t protowire.Type, _ uint64, b []byte) error {
		switch {
		case f == responseOutputs && t == protowire.BytesType:
			if len(outputs) == 64 {
				return fmt.Errorf("%w: more than 64 output tensors", ErrAnswer)
			}
			o, err := decodeTensor(b, n)
			if err != nil {
				return err
			}
			outputs = append(outputs, o)
		case f == responseRaw && t == protowire.BytesType && len(raws) < 64:
			raws = append(raws, b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, o := range outputs {
		if output != "" && output != o.name {
			continue
		}
		if len(o.values) == 0 && i < len(raws) {
			if o.values, err = floats(raws[i], o.datatype, n); err != nil {
				return nil, err
			}
		}
		if len(o.values) != n {
			return nil, fmt.Errorf("%w: %d numbers for %d rows", ErrAnswer, len(o.values), n)
		}
		return o.values, nil
	}
	return nil, fmt.Errorf("%w: %d output tensors, none named %q", ErrAnswer, len(outputs), output)
}

func decodeTensor(m []byte, n int) (tensor, error) {
	var o tensor
	err := each(m, func(f protowire.Number, t protowire.Type, _ uint64, b []byte) error {
		if t != protowire.BytesType {
			return nil
		}
		switch f {
		case tensorName:
			o.name = string(b)
		case tensorDatatype:
			o.datatype = string(b)
		case tensorContents:
			return each(b, func(f protowire.Number, t protowire.Type, value uint64, b []byte) error {
				var more []float64
				var err error
				switch {
				case f == contentsFP32 && t == protowire.BytesType:
					more, err = floats(b, fp32, n)
				case f == contentsFP64 && t == protowire.BytesType:
					more, err = floats(b, fp64, n)
				case f == contentsFP32 && t == protowire.Fixed32Type:
					more = []float64{float64(math.Float32frombits(uint32(value)))}
				case f == contentsFP64 && t == protowire.Fixed64Type:
					more = []float64{math.Float64frombits(value)}
				}
				if o.values = append(o.values, more...); err == nil && len(o.values) > n {
					err = fmt.Errorf("%w: more than %d numbers for as many rows", ErrAnswer, n)
				}
				return err
			})
		}
		return nil
	})
	return o, err
}

// floats reads at most n little-endian numbers.
func floats(b []byte, datatype string, n int) ([]float64, error) {
	size := 4
	switch datatype {
	case fp32:
	case fp64:
		size = 8
	default:
		return nil, fmt.Errorf("%w: the output is %s: want %s or %s", ErrAnswer, brief(datatype), fp32, fp64)
	}
	if len(b)%size != 0 || len(b)/size > n {
		return nil, fmt.Errorf("%w: %d bytes of %s for %d rows", ErrAnswer, len(b), datatype, n)
	}
	out := make([]float64, len(b)/size)
	for i := range out {
		if size == 4 {
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		} else {
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
	}
	return out, nil
}
