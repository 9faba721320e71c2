package prior

// A gaussian is a normal distribution over the logarithms of a server's watts and attributes.
type gaussian struct {
	mean [dims]float64
	cov  [dims][dims]float64
}

// observe conditions g on value = h·x + noise of a variance (a scalar Kalman update), which must not be 0.
func (g *gaussian) observe(h *[dims]float64, value, variance float64) {
	var ph [dims]float64
	s, in := variance, value
	for i, hi := range h {
		if hi == 0 {
			continue
		}
		in -= hi * g.mean[i]
		for j := range ph {
			ph[j] += hi * g.cov[i][j]
		}
	}
	for i, hi := range h {
		s += hi * ph[i]
	}
	for i := range ph {
		gain := ph[i] / s
		g.mean[i] += gain * in
		for j := range i + 1 {
			g.cov[i][j] -= gain * ph[j]
			g.cov[j][i] = g.cov[i][j]
		}
	}
}

// moments returns the weighted mean and the unbiased weighted covariance of rows.
func moments(rows [][dims]float64, weight []float64) gaussian {
	var g gaussian
	sum, squares := 0.0, 0.0
	for r, w := range weight {
		sum += w
		squares += w * w
		for i, v := range rows[r] {
			g.mean[i] += w * v
		}
	}
	for i := range g.mean {
		g.mean[i] /= sum
	}
	for r, w := range weight {
		if w == 0 {
			continue
		}
		var d [dims]float64
		for i, v := range rows[r] {
			d[i] = v - g.mean[i]
		}
		for i := range d {
			for j := range i + 1 {
				g.cov[i][j] += w * d[i] * d[j]
			}
		}
	}
	for i := range g.mean {
		for j := range i + 1 {
			g.cov[i][j] /= sum - squares/sum
			g.cov[j][i] = g.cov[i][j]
		}
	}
	return g
}
