package batch

// fitTree finds the first node, in order of names, with enough CPU and memory free: a binary tree with the
// maxima of both over each half. A nil tree is one that nobody has asked for.
type fitTree struct {
	size     int // leaves, a power of two
	cpu, mem []float64
}

func newFitTree(c *Cluster) *fitTree {
	size := 1
	for size < len(c.nodes) {
		size *= 2
	}
	t := &fitTree{size: size, cpu: make([]float64, 2*size), mem: make([]float64, 2*size)}
	for i := range t.cpu {
		t.cpu[i], t.mem[i] = -1, -1
	}
	for i := range c.nodes {
		t.leaf(i, c)
	}
	for k := size - 1; k > 0; k-- {
		t.join(k)
	}
	return t
}

func (t *fitTree) leaf(i int, c *Cluster) {
	k := t.size + i
	t.cpu[k], t.mem[k] = c.fitCPU[i], c.freeMem[i]
}

func (t *fitTree) join(k int) {
	t.cpu[k] = max(t.cpu[2*k], t.cpu[2*k+1])
	t.mem[k] = max(t.mem[2*k], t.mem[2*k+1])
}

// set takes over what changed on node i.
func (t *fitTree) set(i int, c *Cluster) {
	if t == nil {
		return
	}
	t.leaf(i, c)
	for k := (t.size + i) / 2; k > 0; k /= 2 {
		cpu, mem := t.cpu[k], t.mem[k]
		t.join(k)
		if cpu == t.cpu[k] && mem == t.mem[k] {
			return
		}
	}
}

// next returns the first node from index i on that may fit, or -1. GPUs and other resources are for the
// caller to check.
func (t *fitTree) next(i int, cpu, mem float64) int {
	if i >= t.size {
		return -1
	}
	k := t.size + i
	if i == 0 {
		k = 1 // no need to climb
	}
	for {
		if t.cpu[k] >= cpu && t.mem[k] >= mem {
			if k >= t.size {
				return k - t.size
			}
			k *= 2
			continue
		}
		for k&1 == 1 { // last of its pair: up to the next subtree on the right
			k /= 2
			if k == 0 {
				return -1
			}
		}
		if k == 0 {
			return -1
		}
		k++
		if k&(k-1) == 0 { // past the right edge
			return -1
		}
	}
}

// FirstFit returns the first node, by name and from index from on, where a job fits now, or -1. It
// takes logarithmic time for jobs that ask for CPU and memory alone.
func (c *Cluster) FirstFit(j *Job, from int) int {
	if j.Node != "" {
		if i := c.Find(j.Node); i >= from && c.Fits(i, j) {
			return i
		}
		return -1
	}
	if c.tree == nil {
		c.tree = newFitTree(c)
	}
	for i := c.tree.next(from, j.Requests.CPU, j.Requests.Memory); i >= 0; i = c.tree.next(i+1, j.Requests.CPU, j.Requests.Memory) {
		if c.Fits(i, j) {
			return i
		}
	}
	return -1
}

// mayFit reports false of a job for which no node has enough CPU, or none enough memory, where that is known without a look at all of them.
func (c *Cluster) mayFit(j *Job) bool {
	t := c.tree
	return t == nil || t.cpu[1] >= j.Requests.CPU && t.mem[1] >= j.Requests.Memory
}
