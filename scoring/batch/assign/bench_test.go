package assign

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func BenchmarkDense(b *testing.B) {
	kinds := []struct {
		name string
		cost func(r *rand.Rand, a, c []float64, i, j int) float64
	}{
		{"uniform", func(r *rand.Rand, _, _ []float64, _, _ int) float64 { return r.Float64() }},
		{"integers", func(r *rand.Rand, _, _ []float64, _, _ int) float64 { return float64(r.IntN(100)) }},
		{"product", func(_ *rand.Rand, a, c []float64, i, j int) float64 { return -a[i] * c[j] }},
		{"twoProducts", func(_ *rand.Rand, a, c []float64, i, j int) float64 {
			return -a[i]*c[j] - a[(i+7)%len(a)]*c[(j+13)%len(c)]
		}},
		{"threeProducts", func(_ *rand.Rand, a, c []float64, i, j int) float64 {
			return -a[i]*c[j] - a[(i+7)%len(a)]*c[(j+13)%len(c)] - a[(i+17)%len(a)]*c[(j+31)%len(c)]
		}},
		{"classes", func(_ *rand.Rand, a, c []float64, i, j int) float64 { // few kinds of jobs and of servers, as ECSched meets them
			half := func(v float64) float64 { return math.Ceil(8*v) / 8 }
			return -half(a[i])*half(c[j]) - half(a[(i+7)%len(a)])*half(c[(j+13)%len(c)])
		}},
	}
	for _, size := range [][2]int{{100, 5000}, {1000, 5000}} {
		for _, k := range kinds {
			b.Run(fmt.Sprintf("%dx%d/%s", size[0], size[1], k.name), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 1))
				rows, cols := size[0], size[1]
				u, v := make([]float64, rows), make([]float64, cols)
				for i := range u {
					u[i] = r.Float64()
				}
				for j := range v {
					v[j] = r.Float64()
				}
				cost := make([]float64, rows*cols)
				for i := range rows {
					for j := range cols {
						cost[i*cols+j] = k.cost(r, u, v, i, j)
					}
				}
				for b.Loop() {
					if _, err := Dense(rows, cols, cost); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
