package power

// Capacity is how much work a server can do. Work is measured in cores of speed 1, so that a core-second
// on a fast server counts for more than one on a slow server.
type Capacity struct {
	// Cores is the number of CPU cores that work may use, as the operating system counts them.
	Cores float64

	// Speed is the throughput of one of these cores over that of the reference core; 0 means unknown
	// and counts as 1.
	Speed float64
}

// Work returns the capacity in cores of speed 1.
func (c Capacity) Work() float64 {
	if c.Speed > 0 {
		return c.Cores * c.Speed
	}
	return c.Cores
}
