package grpcbalancer_test

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/k8s/grpcbalancer"
)

func Example() {
	var weights grpcbalancer.Weights
	balancer.Register(grpcbalancer.NewBuilder("leastwatt_web", &weights, grpcbalancer.Options{}))
	conn, err := grpc.NewClient("dns:///web.shop:8080", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"leastwatt_web":{}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	// Every few seconds, with the nodes of a scoring.Site:
	web := []balancing.Service{{Name: "shop/web:grpc", Rate: 200, CPU: 0.01, Endpoints: []balancing.Endpoint{{ID: "10.0.0.7:8080"}, {ID: "10.0.0.8:8080"}}}}
	shares, err := new(balancing.Optimal).Weigh(context.Background(), web)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(weights.StoreShares(&web[0], shares[0]), balancing.Values(shares[0]))
	// Output: <nil> [0.5 0.5]
}
