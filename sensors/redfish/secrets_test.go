package redfish_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// Passwords and session tokens are in no error, no log line and no metric, whatever the BMC does.
func TestCredentialsNeverShow(t *testing.T) {
	a := authority(t)
	var mu sync.Mutex
	secrets := []string{password, base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
	for name, session := range map[string]bool{"basic": false, "session": true} {
		t.Run(name, func(t *testing.T) {
			bmc := emulate.NewBMC(machine, emulate.BMCOptions{User: user, Password: password, NoBasic: session, MaxSessions: 100})
			spy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				bmc.ServeHTTP(w, r)
				if token := w.Header().Get("X-Auth-Token"); token != "" {
					mu.Lock()
					secrets = append(secrets, token)
					mu.Unlock()
				}
			})
			good := serve(t, a, spy)
			good.Session = session
			wrong := good
			wrong.User = "nobody"
			s := source(t, map[string]redfish.Endpoint{"good": good, "wrong": wrong}, redfish.Options{Timeout: 100 * time.Millisecond})
			var out lockedBuffer
			p := sensors.NewPoller(s, []string{"good", "wrong"}, sensors.PollerOptions{Interval: 5 * time.Millisecond, MaxBackoff: 5 * time.Millisecond,
				Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			reg := prometheus.NewRegistry()
			if err := p.Register(reg); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = p.Run(ctx) })
			for f := emulate.NoFault; f <= emulate.ManySensors; f++ {
				bmc.SetFault(f)
				_, err := s.Read(t.Context(), "good")
				fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
				bmc.ExpireSessions()
			}
			cancel()
			wg.Wait()
			for n := range p.Snapshot().All {
				fmt.Fprintf(&out, "%+v %v\n", *n, n.Err)
			}
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&out, families, s)
			mu.Lock()
			defer mu.Unlock()
			if session && len(secrets) < 3 {
				t.Error("no token was seen: the test shows nothing")
			}
			text := out.String()
			if !strings.Contains(text, "unauthorized") {
				t.Error("nothing was refused: the test shows nothing")
			}
			for _, secret := range secrets {
				if i := strings.Index(text, secret); i >= 0 {
					t.Errorf("a credential shows: …%s", text[max(0, i-200):i])
				}
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
