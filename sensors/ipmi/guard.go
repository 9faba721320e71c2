package ipmi

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/crypto"
	"github.com/bougou/go-ipmi/pkg/rmcpplus"
	"github.com/bougou/go-ipmi/pkg/types"
)

// A guard stands between the socket and the library. The library neither checks the integrity code of what
// it receives nor the lengths inside, in a goroutine of its own: a forged datagram could set a temperature,
// and a short one end the process. The guard follows the handshake, derives the same keys, and drops every
// datagram that the BMC did not send in this session with the pinned suite.
type guard struct {
	net.Conn
	username string
	key      []byte // the password padded to 20 bytes, Kuid
	auth     types.AuthAlg
	integ    types.IntegrityAlg
	crypt    types.CryptAlg

	mu          sync.Mutex // guards all below
	interrupted bool
	expired     bool // a Read ended by its deadline since resume
	established bool
	console     [16]byte // our random number of RAKP message 1
	role        byte
	consoleID   uint32
	bmcID       uint32
	k1, k2      []byte
}

func newGuard(conn net.Conn, username, password string, suite types.CipherSuiteID) *guard {
	g := &guard{Conn: conn, username: username, key: crypto.PadPassword20([]byte(password))}
	g.auth, g.integ, g.crypt, _ = types.GetCipherSuiteAlgorithms(suite)
	return g
}

// Layout of an RMCP+ packet (IPMI v2.0 table 13-8): 4 bytes RMCP header, then authentication type, payload
// type with two flags, session ID, sequence number, payload length; then the payload and the trailer.
const (
	offAuthType    = 4
	offPayloadType = 5
	offSessionID   = 6
	offLength      = 14
	offPayload     = 16
	classIPMI      = 0x07
	authRMCPPlus   = 0x06
)

// Write notes what we tell the BMC in the handshake and sends it.
func (g *guard) Write(p []byte) (int, error) {
	if len(p) > offPayload && p[offAuthType] == authRMCPPlus {
		switch types.PayloadType(p[offPayloadType] & 0x3f) {
		case types.PayloadTypeRmcpOpenSessionRequest:
			var m rmcpplus.OpenSessionRequest
			if m.Unpack(p[offPayload:]) == nil {
				g.mu.Lock()
				g.consoleID, g.k1, g.k2 = m.RemoteConsoleSessionID, nil, nil
				g.mu.Unlock()
			}
		case types.PayloadTypeRAKPMessage1:
			var m rmcpplus.RAKPMessage1
			if m.Unpack(p[offPayload:]) == nil {
				g.mu.Lock()
				g.console, g.role = m.RemoteConsoleRandomNumber, m.Role()
				g.mu.Unlock()
			}
		}
	}
	return g.Conn.Write(p)
}

// Read returns the next datagram that is genuine.
func (g *guard) Read(p []byte) (int, error) {
	for {
		n, err := g.Conn.Read(p)
		if err != nil {
			g.mu.Lock()
			g.expired = g.expired || errors.Is(err, os.ErrDeadlineExceeded)
			g.mu.Unlock()
			return n, err
		}
		if g.genuine(p[:n]) {
			return n, nil
		}
	}
}

// SetReadDeadline is the socket's, except that an interrupted guard stays interrupted.
func (g *guard) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.interrupted {
		t = time.Unix(1, 0)
	}
	return g.Conn.SetReadDeadline(t)
}

// interrupt ends a Read that waits, and those after it until resume.
func (g *guard) interrupt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.interrupted = true
	_ = g.Conn.SetReadDeadline(time.Unix(1, 0))
}

func (g *guard) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.interrupted, g.expired = false, false
}

// timedOut reports whether nothing genuine came in time since resume. The library has an error for it that it
// does not export.
func (g *guard) timedOut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expired
}

// establish ends the handshake: from now on only proven packets pass.
func (g *guard) establish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.established = true
}

func (g *guard) bmcSession() uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bmcID
}

func (g *guard) genuine(p []byte) bool {
	if len(p) < offPayload || p[0] != types.RmcpVersion || p[3]&0x1f != classIPMI || p[offAuthType] != authRMCPPlus {
		return false
	}
	length := int(binary.LittleEndian.Uint16(p[offLength:]))
	if len(p) < offPayload+length {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	payload := p[offPayload : offPayload+length]
	switch types.PayloadType(p[offPayloadType] & 0x3f) {
	case types.PayloadTypeRmcpOpenSessionResponse:
		return p[offPayloadType]&0xc0 == 0 && g.opened(payload)
	case types.PayloadTypeRAKPMessage2:
		return p[offPayloadType]&0xc0 == 0 && g.answered(payload)
	case types.PayloadTypeRAKPMessage4:
		return p[offPayloadType]&0xc0 == 0 && !g.established
	case types.PayloadTypeIPMI:
		return g.proven(p, payload)
	}
	return false
}

// opened checks an Open Session Response: it must keep the pinned suite.
func (g *guard) opened(payload []byte) bool {
	var m rmcpplus.OpenSessionResponse
	if g.established || m.Unpack(payload) != nil || m.RemoteConsoleSessionID != g.consoleID && m.RmcpStatusCode == 0 {
		return false
	}
	if m.RmcpStatusCode != types.RmcpStatusCodeNoErrors {
		return true
	}
	g.bmcID = m.ManagedSystemSessionID
	return m.AuthAlg == uint8(g.auth) && m.IntegrityAlg == uint8(g.integ) && m.CryptAlg == uint8(g.crypt)
}

// answered takes the BMC's random number from RAKP message 2. The library checks the message's own code.
func (g *guard) answered(payload []byte) bool {
	m := rmcpplus.RAKPMessage2{AuthAlg: g.auth}
	if g.established || m.Unpack(payload) != nil {
		return false
	}
	if m.RmcpStatusCode == types.RmcpStatusCodeNoErrors {
		_, k1, k2, err := crypto.DeriveSessionKeys(g.auth, g.console[:], m.ManagedSystemRandomNumber[:], g.role, g.username, g.key)
		if err != nil {
			return false
		}
		g.k1, g.k2 = k1, k2
	}
	return true
}

// proven checks a packet of the session: encrypted, with an integrity code under K1 (§13.28.4), and decrypting
// to a message with sound padding.
func (g *guard) proven(p, payload []byte) bool {
	size, ok := crypto.IntegrityAuthCodeLen(g.integ)
	if !ok || g.k1 == nil || p[offPayloadType]&0xc0 != 0xc0 || binary.LittleEndian.Uint32(p[offSessionID:]) != g.consoleID {
		return false
	}
	signed := len(p) - size
	if signed < offPayload+len(payload) {
		return false
	}
	want, err := crypto.SessionIntegrityAuthCode(g.integ, p[offAuthType:signed], g.k1, "")
	if err != nil || !hmac.Equal(want, p[signed:]) {
		return false
	}
	if len(payload) < 32 || len(payload)%16 != 0 {
		return false
	}
	plain, err := crypto.DecryptAES(payload[16:], g.k2[:16], payload[:16])
	if err != nil {
		return false
	}
	_, err = crypto.UnpadAES(plain)
	return err == nil
}
