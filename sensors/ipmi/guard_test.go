package ipmi

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A hostile host that can send with the BMC's address stands between; what it injects must neither end the
// process nor become a reading.
func TestForgedDatagramsAreDropped(t *testing.T) {
	e, err := emulate.NewIPMI("u", "p", emulate.IPMISensor{Name: "Inlet", Entity: 0x37, Unit: 1, Raw: 24})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = e.Run(ctx) })
	m := newMiddle(t, e.Addr())
	wg.Go(func() { m.run(ctx) })

	s := New(Nodes(map[string]BMC{"n": {Address: m.front.LocalAddr().String(), Username: "u", Password: "p"}}), Options{Timeout: 300 * time.Millisecond})
	defer s.Close()
	for range 5 {
		got, err := s.Read(ctx, "n")
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].Value != 24 || got[0].Kind != sensors.InletTemp {
			t.Fatalf("got %v, want 24 °C", got)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.injected == 0 {
		t.Fatal("nothing was injected")
	}
}

// middle relays between a client and a BMC and puts forged packets before each genuine one.
type middle struct {
	front    *net.UDPConn
	back     net.Conn
	client   net.Addr
	mu       sync.Mutex
	injected int
}

func newMiddle(t *testing.T, bmc string) *middle {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", bmc)
	if err != nil {
		t.Fatal(err)
	}
	return &middle{front: front, back: back}
}

func (m *middle) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { m.front.Close(); m.back.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		p := make([]byte, 4096)
		for {
			n, err := m.back.Read(p)
			if err != nil {
				return
			}
			m.mu.Lock()
			to := m.client
			for _, f := range forgeries(p[:n]) {
				m.injected++
				_, _ = m.front.WriteTo(f, to)
			}
			m.mu.Unlock()
			_, _ = m.front.WriteTo(p[:n], to)
		}
	})
	p := make([]byte, 4096)
	for {
		n, from, err := m.front.ReadFrom(p)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.client = from
		m.mu.Unlock()
		_, _ = m.back.Write(p[:n])
	}
}

// forgeries returns damaged copies of a packet. In the handshake, which has no code yet, only what is no
// RMCP+ at all.
func forgeries(p []byte) [][]byte {
	out := [][]byte{nil, {6, 0, 0xff, 7}, slices.Repeat([]byte{0xff}, 64)}
	if p[offPayloadType]&0x3f != byte(types.PayloadTypeIPMI) {
		return out
	}
	flip := slices.Clone(p)
	flip[len(flip)-1] ^= 1
	body := slices.Clone(p)
	body[offPayload+20] ^= 0x40
	short := slices.Clone(p[:offPayload+3])
	binary.LittleEndian.PutUint16(short[offLength:], 3)
	plain := slices.Clone(p)
	plain[offPayloadType] &= 0x3f
	unsigned := slices.Clone(p)
	unsigned[offPayloadType] &^= 0x40
	return append(out, flip, body, short, plain, unsigned, p[:len(p)-5])
}

// A busy BMC answers the first try when the second is under way. That is no wrong password.
func TestLateAnswersAreNotTakenForRefusals(t *testing.T) {
	e, err := emulate.NewIPMI("u", "p", emulate.IPMISensor{Name: "Inlet", Entity: 0x37, Unit: 1, Raw: 24})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = e.Run(ctx) })
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { delayFirst(ctx, front, e.Addr()) })
	s := New(Nodes(map[string]BMC{"n": {Address: front.LocalAddr().String(), Username: "u", Password: "p"}}), Options{Timeout: 100 * time.Millisecond, Attempts: 3})
	defer s.Close()
	got, err := s.Read(ctx, "n")
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
}

// delayFirst relays datagrams, and holds the first answer to RAKP message 1 until a second message of that
// type came.
func delayFirst(ctx context.Context, front *net.UDPConn, bmc string) {
	stop := context.AfterFunc(ctx, func() { front.Close() })
	defer stop()
	var mu sync.Mutex
	var held func()
	first := true
	ports := map[string]net.Conn{}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		for _, c := range ports {
			c.Close()
		}
	}()
	p := make([]byte, 4096)
	for {
		n, from, err := front.ReadFrom(p)
		if err != nil {
			return
		}
		back := ports[from.String()]
		if back == nil {
			if back, err = net.Dial("udp", bmc); err != nil {
				return
			}
			ports[from.String()] = back
			wg.Go(func() {
				q := make([]byte, 4096)
				for {
					n, err := back.Read(q)
					if err != nil {
						return
					}
					packet := slices.Clone(q[:n])
					send := func() { _, _ = front.WriteTo(packet, from) }
					mu.Lock()
					if first && packet[offPayloadType]&0x3f == byte(types.PayloadTypeRAKPMessage2) {
						first, held = false, send
						mu.Unlock()
						continue
					}
					mu.Unlock()
					send()
				}
			})
		}
		if p[offPayloadType]&0x3f == byte(types.PayloadTypeRAKPMessage1) {
			mu.Lock()
			if held != nil {
				held()
				held = nil
			}
			mu.Unlock()
		}
		_, _ = back.Write(p[:n])
	}
}

// A BMC that answers with another suite than the pinned one is not talked to.
func TestDowngradeIsRefused(t *testing.T) {
	g := newGuard(nil, "u", "p", types.CipherSuiteID3)
	g.consoleID = 7
	p := make([]byte, offPayload+36)
	p[0], p[3], p[offAuthType], p[offPayloadType] = 6, 7, authRMCPPlus, byte(types.PayloadTypeRmcpOpenSessionResponse)
	binary.LittleEndian.PutUint16(p[offLength:], 36)
	b := p[offPayload:]
	binary.LittleEndian.PutUint32(b[4:], 7)
	b[16], b[24], b[32] = 1, 1, 1 // HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128: suite 3
	if !g.genuine(p) {
		t.Error("suite 3 is refused")
	}
	for _, off := range []int{16, 24, 32} {
		weak := slices.Clone(p)
		weak[offPayload+off] = 0
		if g.genuine(weak) {
			t.Errorf("algorithm byte %d set to none passes", off)
		}
	}
}

func FuzzGuard(f *testing.F) {
	f.Add([]byte{6, 0, 0xff, 7, 6, 0xc0, 0xa3, 0xa2, 0xa1, 0xa0, 1, 0, 0, 0, 32, 0, 1, 2, 3})
	f.Add([]byte{6, 0, 0xff, 7, 6, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		g := newGuard(nil, "u", "p", types.CipherSuiteID17)
		g.consoleID, g.k1, g.k2 = 0xa0a1a2a3, make([]byte, 32), make([]byte, 32)
		g.established = true
		if g.genuine(p) {
			t.Errorf("%x passes without the key's holder", p)
		}
		g = newGuard(nil, "u", "p", types.CipherSuiteID3)
		g.genuine(p)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(make([]byte, 64), uint8(3))
	f.Add([]byte("000\x010000000000000000\x00\x010\x0400000\xff00000000000000000A0"), uint8(0x91)) // too large to be rounded
	f.Add([]byte("\x01\x00\x51\x01\x35\x20\x00\x01\x40\x01\x7f\x68\x01\x01\x00\x0a\x00\x0a\x38\x38\x00\x01\x00\x00\x05\x00\x00\x00\x00\xf0\x00\x00\x00\x00\xff\x00\x54\x4c\x46\x00\x00\x00\x02\x02\x00\x00\x00\xcaInlet Temp"), uint8(47))
	f.Fuzz(func(t *testing.T, raw []byte, value uint8) {
		r, ok := parseRecord(raw)
		if !ok {
			return
		}
		v, err := r.convert(value, r.factor)
		if err == nil && (v-v != 0) {
			t.Errorf("%x: %v is not finite", raw, v)
		}
		choose([]record{r, r}, nil)
	})
}
