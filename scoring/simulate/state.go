package simulate

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// States of a node.
const (
	isOn uint8 = iota
	isOff
	isSuspended
	isBooting
	isDown
)

// server is the truth about one node.
type server struct {
	curve   *power.Piecewise
	work    float64
	speed   float64
	use     float64 // cores of speed 1
	watts   float64
	state   uint8
	gen     uint32 // overtakes evReady and evOff
	ready   int64
	first   int32 // running jobs, a list
	jobs    int32
	changed int32 // jobs that have come or gone since until was found
	until   int64 // when all jobs are expected to have ended
	outage  int   // the next one
	since   int64
	joules  float64
	useTime float64
	onTime  float64
	perWork bill // of a core-second so far: what a job pays for its use
	site    int32
}

// live is a job that waits or runs. What changes as it runs comes first: it fills few cache lines.
type live struct {
	node    int32 // or -1
	prev    int32
	next    int32 // on the node, or free
	gen     uint32
	started int64 // when its work would have begun had it never been stopped
	length  int64 // how long it runs in all on its present server
	ends    int64
	use     float64
	done    float64 // cores·seconds of work, for the mean use
	useAt   int64
	bill    bill
	paid    bill  // the server's perWork when the job last paid
	first   int64 // when it began
	ran     int64 // before it was stopped
	slice   int64 // how long it may run now; 0 is to the end
	begun   bool
	class   string
	demand  scoring.Demand // as the strategy knows it
	job     Job
}

// tell writes what the strategy may know of a job.
func (l *live) tell(b *batch.Job) {
	j := &l.job
	*b = batch.Job{Name: j.Name, Requests: j.Requests, Demand: l.demand, Priority: j.Priority, Submitted: j.Arrival, Deadline: j.Deadline,
		Pinned: j.Pinned, Suspend: j.Suspend, Node: j.Node}
}

type simulation struct {
	cfg     *Config
	clock   time.Time // what SolveTime is measured from: one reading of the wall clock is enough
	ctx     context.Context
	cluster *batch.Cluster
	servers []server
	jobs    []live
	free    int32
	events  eventHeap
	clocks  int // events that come again and again
	pending []int32
	ends    bool // whether the strategy goes by until when servers are in use
	forgets bool // whether it keeps nothing of jobs that fit nowhere
	// ranked says that jobs differ in priority, disorder that pending is not in its order.
	ranked, disorder bool
	rnd              *rand.Rand

	now        int64
	from, to   int64
	total      float64 // watts of all servers
	on         int
	load       batch.Load
	excess     float64 // cores of load.Use that servers do not do, because they are asked for more than they have
	bound      *batch.Bound
	boundWatts float64
	down       int
	absent     float64 // watts that the bound counts for nodes that are down
	dimmed     int
	dim        float64 // and by how much those that boot draw less than idle
	stale      bool    // boundWatts is of an older load
	energy     float64
	boundJ     float64
	lifetimes  batch.Lifetimes
	shares     map[string]*share
	allShares  share
	classes    map[[2]float64]string
	learners   []*learner
	wait       waits
	turn       waits
	res        Result
	liveN      int
	running    int
	nextTrace  int64
	planned    bool
	planJobs   []batch.Job
	one        batch.Job // for one call of the cluster
	transfers  []transfer
	moving     int // of them that are still to come
	planSlots  []int32
	planAt     []int32 // which of planSlots the strategy is asked about
	misfits    []batch.Resources
	updates    int
	sites      []site
	released   int // at the end of pending, to be planned together
	heldN      int
}

type share struct{ sum, n float64 }

// A bill is what energy comes to; grams and money are 0 without sites.
type bill struct{ joules, grams, money float64 }

// add adds what so much use has cost between two readings of a server's perWork.
func (b *bill) add(use float64, from, to *bill) {
	b.joules += use * (to.joules - from.joules)
	b.grams += use * (to.grams - from.grams)
	b.money += use * (to.money - from.money)
}
