package emulate

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// BMCOptions describe a [BMC]. The zero value is one that needs no credentials and offers all views but
// metric reports.
type BMCOptions struct {
	User, Password string // "" needs no credentials

	// NoBasic refuses basic authentication, so that clients must log in.
	NoBasic bool

	// MaxSessions limits sessions at once; 0 means 8. A login beyond it answers 503, as BMCs do.
	MaxSessions int

	// Without names views that the BMC does not offer: "Thermal", "ThermalSubsystem", "Sensors",
	// "EnvironmentMetrics", "Power", "PowerSubsystem".
	Without []string

	// Reports offers a metric report of everything, by the TelemetryService.
	Reports bool

	// Delay is how long each answer takes.
	Delay time.Duration

	// System is what the computer system says of itself; nil says nothing.
	System *System

	// RedirectTo is where [RedirectAway] leads.
	RedirectTo string
}

// A System is the hardware that an emulated computer system tells of.
type System struct {
	Manufacturer, Model   string
	CPU                   string
	Chips, Cores, Threads int // of all chips
	MemoryGiB             float64
}

// A BMC is an emulated Redfish service of one server. It is an [http.Handler], safe for concurrent use,
// and offers: Thermal, ThermalSubsystem, Sensors (also expanded), EnvironmentMetrics, Power, and
// PowerSubsystem with its supplies; basic and session authentication; ETags.
type BMC struct {
	live     func() Machine
	opts     BMCOptions
	fault    atomic.Int64
	requests atomic.Int64
	views    sync.Map // of path: how often it was asked for, *atomic.Int64

	mu       sync.Mutex
	sessions map[string]string // token by id; guarded by mu
	logins   int               // guarded by mu
}

// NewBMC returns a BMC of the machine that live tells of. It does not listen; see [Listen].
func NewBMC(live func() Machine, o BMCOptions) *BMC {
	o.MaxSessions = cmp.Or(o.MaxSessions, 8)
	return &BMC{live: live, opts: o, sessions: make(map[string]string)}
}

// SetFault makes the BMC misbehave, from the next request on; NoFault makes it well again.
func (b *BMC) SetFault(f Fault) { b.fault.Store(int64(f)) }

// Requests returns how many requests there were.
func (b *BMC) Requests() int { return int(b.requests.Load()) }

// Asked returns how many requests there were for a path.
func (b *BMC) Asked(path string) int {
	if n, ok := b.views.Load(path); ok {
		return int(n.(*atomic.Int64).Load())
	}
	return 0
}

// Sessions returns how many sessions are open, and how many were ever opened.
func (b *BMC) Sessions() (open, ever int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sessions), b.logins
}

// ExpireSessions ends all sessions, as a BMC that restarts does.
func (b *BMC) ExpireSessions() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.sessions)
}

// ServeHTTP implements [http.Handler].
func (b *BMC) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.requests.Add(1)
	n, _ := b.views.LoadOrStore(r.URL.Path, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	f := Fault(b.fault.Load())
	if b.opts.Delay > 0 {
		time.Sleep(b.opts.Delay)
	}
	if fault(f, b.opts.RedirectTo, w, r) {
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path == "/redfish/v1/SessionService/Sessions" && r.Method == http.MethodPost {
		b.login(w, r)
		return
	}
	if path != "/redfish/v1" && !b.allowed(r) {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	if id, ok := strings.CutPrefix(path, "/redfish/v1/SessionService/Sessions/"); ok && r.Method == http.MethodDelete {
		b.mu.Lock()
		delete(b.sessions, id)
		b.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if r.Method != http.MethodGet {
		http.Error(w, "this BMC is read-only", http.StatusMethodNotAllowed)
		return
	}
	t := tree{m: f.measure(b.live(), time.Now()), fault: f, opts: b.opts}
	body := t.resource(path, strings.Contains(r.URL.RawQuery, "expand"))
	if body == nil {
		http.NotFound(w, r)
		return
	}
	body["@odata.id"] = path
	b.write(w, r, f, body)
}

func (b *BMC) write(w http.ResponseWriter, r *http.Request, f Fault, body object) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if f == NotANumber {
		text = []byte(strings.ReplaceAll(string(text), `"`+nan+`"`, "NaN"))
	}
	h := fnv.New64a()
	_, _ = h.Write(text)
	etag := fmt.Sprintf(`W/"%x"`, h.Sum64())
	w.Header().Set("ETag", etag)
	w.Header().Set("OData-Version", "4.0")
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(text)
}

func (b *BMC) allowed(r *http.Request) bool {
	if b.opts.User == "" {
		return true
	}
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, t := range b.sessions {
			if subtle.ConstantTimeCompare([]byte(t), []byte(token)) == 1 {
				return true
			}
		}
		return false
	}
	user, password, ok := r.BasicAuth()
	return ok && !b.opts.NoBasic && b.is(user, password)
}

func (b *BMC) is(user, password string) bool {
	return user == b.opts.User && subtle.ConstantTimeCompare([]byte(password), []byte(b.opts.Password)) == 1
}

func (b *BMC) login(w http.ResponseWriter, r *http.Request) {
	var who struct{ UserName, Password string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&who); err != nil {
		http.Error(w, "no login", http.StatusBadRequest)
		return
	}
	if !b.is(who.UserName, who.Password) {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sessions) >= b.opts.MaxSessions {
		http.Error(w, "the maximum number of user sessions is reached", http.StatusServiceUnavailable)
		return
	}
	b.logins++
	id, token := fmt.Sprint(b.logins), rand.Text()
	b.sessions[id] = token
	w.Header().Set("X-Auth-Token", token)
	w.Header().Set("Location", "/redfish/v1/SessionService/Sessions/"+id)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(object{"@odata.id": "/redfish/v1/SessionService/Sessions/" + id, "Id": id, "Name": "session", "UserName": who.UserName})
}

func (o BMCOptions) offers(view string) bool { return !slices.Contains(o.Without, view) }
