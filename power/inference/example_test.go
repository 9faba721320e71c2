package inference_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
)

// A model server of WAO's is asked in the background; decisions read local curves.
func ExampleTable() {
	server := httptest.NewServer(&serve{}) // a stand-in for the model server
	defer server.Close()
	ctx := context.Background()

	remote, err := inference.NewOpenInference(server.URL, "model1", inference.OpenInferenceOptions{
		Options: inference.Options{Auth: inference.Bearer("token")},
		Version: "v0.1.0",
	})
	if err != nil {
		panic(err)
	}
	p, err := inference.New(remote, inference.WAO(32), inference.PredictorOptions{}) // servers of 32 cores
	if err != nil {
		panic(err)
	}
	table, err := inference.NewTable(p, inference.TableOptions{})
	if err != nil {
		panic(err)
	}

	s := power.State{Node: "a", Utilization: 0.25, InletTemp: new(power.Celsius(24)), PressureDelta: new(power.Pascals(2))}
	_, err = table.Predict(ctx, s)
	fmt.Println(err)
	if err := table.Refresh(ctx); err != nil { // Run does it in the background
		panic(err)
	}
	w, err := table.Predict(ctx, s)
	fmt.Println(w, err)
	// Output:
	// node "a": the remote model's curve is not fetched yet
	// 99.00 W <nil>
}

func ExampleCache() {
	server := httptest.NewServer(&serve{})
	defer server.Close()
	remote, err := inference.NewTensorFlowServing(server.URL, "power", inference.TensorFlowOptions{Instances: true})
	if err != nil {
		panic(err)
	}
	p, err := inference.New(remote, inference.WAO(32), inference.PredictorOptions{})
	if err != nil {
		panic(err)
	}
	c, err := inference.NewCache(p, inference.CacheOptions{})
	if err != nil {
		panic(err)
	}
	for range 3 {
		w, err := c.Predict(context.Background(), state(0.5))
		fmt.Println(w, err)
	}
	fmt.Println(c.Stats().Misses, "question")
	// Output:
	// 123.00 W <nil>
	// 123.00 W <nil>
	// 123.00 W <nil>
	// 1 question
}
