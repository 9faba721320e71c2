package power

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MaxXGBoostSize bounds the JSON that [ReadXGBoost] reads, in bytes.
const MaxXGBoostSize = 32 << 20

// xgboostModel is the part of XGBoost's JSON that decides predictions. Other fields are XGBoost's own.
type xgboostModel struct {
	Learner *struct {
		FeatureNames    []string `json:"feature_names"`
		GradientBooster *struct {
			Name  string `json:"name"`
			Model *struct {
				Trees []xgboostTree `json:"trees"`
			} `json:"model"`
		} `json:"gradient_booster"`
		Param struct {
			BaseScore  string `json:"base_score"`
			NumClass   string `json:"num_class"`
			NumFeature string `json:"num_feature"`
			NumTarget  string `json:"num_target"`
		} `json:"learner_model_param"`
		Objective struct {
			Name string `json:"name"`
		} `json:"objective"`
	} `json:"learner"`
}

type xgboostTree struct {
	DefaultLeft     []flag    `json:"default_left"`
	LeftChildren    []int32   `json:"left_children"`
	RightChildren   []int32   `json:"right_children"`
	SplitConditions []float32 `json:"split_conditions"`
	SplitIndices    []int32   `json:"split_indices"`
	SplitType       []int     `json:"split_type"`
}

// flag is a boolean that some versions write as 0 or 1.
type flag bool

// UnmarshalJSON implements [json.Unmarshaler].
func (f *flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "1", "true":
		*f = true
	case "0", "false":
		*f = false
	default:
		return fmt.Errorf("%q is not 0, 1, false or true", b)
	}
	return nil
}

// linkless are the objectives of which the prediction is the plain sum of the trees.
func linkless(objective string) bool {
	switch objective {
	case "reg:squarederror", "reg:linear", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror":
		return true
	}
	return false
}

// ReadXGBoost reads a model that XGBoost saved as JSON (Booster.save_model("m.json")) and that predicts
// watts: booster gbtree, a regression objective without a link function, numeric splits. It predicts as
// XGBoost does with all trees, to the last bit of float32. Inputs name its features in order; nil takes the
// feature names that the file has.
func ReadXGBoost(r io.Reader, inputs []Input) (*Trees, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxXGBoostSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxXGBoostSize {
		return nil, fmt.Errorf("XGBoost model: longer than %d bytes", MaxXGBoostSize)
	}
	var m xgboostModel
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("XGBoost model: %w", err)
	}
	l := m.Learner
	if l == nil || l.GradientBooster == nil || l.GradientBooster.Model == nil {
		return nil, errors.New("XGBoost model: learner.gradient_booster.model is missing: save it with save_model(\"NAME.json\")")
	}
	if b := l.GradientBooster.Name; b != "gbtree" {
		return nil, fmt.Errorf("XGBoost model: booster %q: only gbtree is known", b)
	}
	if !linkless(l.Objective.Name) {
		return nil, fmt.Errorf("XGBoost model: objective %q does not predict watts: use reg:squarederror", l.Objective.Name)
	}
	for _, p := range []struct{ name, value string }{{"num_class", l.Param.NumClass}, {"num_target", l.Param.NumTarget}} {
		if p.value != "" && p.value != "0" && p.value != "1" {
			return nil, fmt.Errorf("XGBoost model: %s is %s: want one output", p.name, p.value)
		}
	}
	base, err := strconv.ParseFloat(strings.Trim(l.Param.BaseScore, "[]"), 32) // since 3.0 it is a list of one
	if err != nil {
		return nil, fmt.Errorf("XGBoost model: base_score %q is not a number", l.Param.BaseScore)
	}
	if inputs == nil {
		for _, n := range l.FeatureNames {
			inputs = append(inputs, Input(n))
		}
	}
	if n, err := strconv.Atoi(l.Param.NumFeature); err != nil || n != len(inputs) {
		return nil, fmt.Errorf("XGBoost model: it has %s features, of which %d are named: name them in order", l.Param.NumFeature, len(inputs))
	}
	e := Ensemble{Inputs: inputs, Base: float32(base)}
	for i, t := range l.GradientBooster.Model.Trees {
		for _, k := range t.SplitType {
			if k != 0 {
				return nil, fmt.Errorf("XGBoost model, tree %d: it has a categorical split", i)
			}
		}
		missing := make([]bool, len(t.DefaultLeft))
		for k, f := range t.DefaultLeft {
			missing[k] = bool(f)
		}
		e.Trees = append(e.Trees, Tree{Left: t.LeftChildren, Right: t.RightChildren, Feature: t.SplitIndices, Value: t.SplitConditions, MissingLeft: missing})
	}
	out, err := NewTrees(e)
	if err != nil {
		return nil, fmt.Errorf("XGBoost model: %w", err)
	}
	return out, nil
}
