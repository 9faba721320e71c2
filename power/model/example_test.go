package model_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

func ExampleMarshal() {
	server, err := power.FindServer("PowerEdge R740")
	if err != nil {
		panic(err)
	}
	data, err := model.Marshal(&model.Model{
		Name:      "r740",
		Prior:     true,
		Form:      server.Curve(),
		Intervals: []power.Band{{Level: 0.9, BelowShare: 0.1, AboveShare: 0.12}},
		Fitted:    &model.Fitted{Source: "SPECpower_ssj2008 (SPEC)", Server: server.Name(), Samples: 11},
	})
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(data)
	// Output:
	// {
	//   "format": "leastwatt.model/1",
	//   "name": "r740",
	//   "prior": true,
	//   "inputs": [{"name":"utilization","unit":"ratio"}],
	//   "form": {
	//     "kind": "piecewise",
	//     "utilization": [0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1],
	//     "watts": [52.3,129,147,170,195,224,255,292,344,408,457]
	//   },
	//   "intervals": [{"level":0.9,"below":0,"above":0,"belowShare":0.1,"aboveShare":0.12}],
	//   "fitted": {"source":"SPECpower_ssj2008 (SPEC)","server":"Dell PowerEdge R740","samples":11}
	// }
}

func ExampleUnmarshal() {
	_, err := model.Unmarshal([]byte(`{
		"format": "leastwatt.model/1",
		"name": "web",
		"inputs": [{"name": "utilization", "unit": "ratio"}],
		"form": {"kind": "linear", "idle": 60, "paek": 300}
	}`))
	fmt.Println(err)
	m, err := model.Unmarshal([]byte(`{
		"format": "leastwatt.model/1",
		"name": "web",
		"inputs": [{"name": "utilization", "unit": "ratio"}],
		"form": {"kind": "linear", "idle": 60, "peak": 300}
	}`))
	if err != nil {
		panic(err)
	}
	p, err := m.Predictor()
	if err != nil {
		panic(err)
	}
	w, err := p.Predict(context.Background(), power.State{Utilization: 0.5})
	fmt.Println(w, err)
	// Output:
	// form.peak: missing
	// 180.00 W <nil>
}

func ExampleLibrary() {
	dir, err := os.MkdirTemp("", "models")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := model.WriteFile(filepath.Join(dir, "web.json"), &model.Model{Name: "web", Form: power.Linear{Idle: 60, Peak: 300}}); err != nil {
		panic(err)
	}
	library := model.NewLibrary(dir, model.LibraryOptions{})
	if err := library.Load(); err != nil { // Run follows the folder
		panic(err)
	}
	fmt.Println(library.Set().Names())
	// Output: [web]
}
