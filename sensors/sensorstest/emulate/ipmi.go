package emulate

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/hal/mock"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/types"
)

// IPMISensor is one analog sensor of an emulated BMC. The raw byte Raw reads as (M·Raw + B·10^BExp)·10^RExp
// of the unit; an M of 0 means 1.
type IPMISensor struct {
	Name   string
	Entity uint8 // IPMI v2.0 table 43-13: 37h air inlet, 03h processor, 0ah power supply
	Unit   uint8 // table 43-15: 1 degree Celsius, 2 Fahrenheit, 6 watts, 18 revolutions per minute
	Signed bool  // two's complement
	M      int16
	B      int16
	BExp   int8
	RExp   int8
	Raw    uint8
	Off    bool // reports that its reading is unavailable

	// Live, where it is not nil, gives the value, in the sensor's unit; Raw then does not count. NaN is Off.
	Live func() float64
}

// raw returns the byte that reads as the sensor's value, and whether there is one.
func (s IPMISensor) raw() (byte, bool) {
	if s.Live == nil {
		return s.Raw, !s.Off
	}
	v := s.Live()
	if math.IsNaN(v) {
		return 0, false
	}
	m := float64(cmp.Or(s.M, 1))
	x := math.Round((v/math.Pow10(int(s.RExp)) - float64(s.B)*math.Pow10(int(s.BExp))) / m)
	if s.Signed {
		return byte(int8(min(max(x, -128), 127))), true
	}
	return byte(min(max(x, 0), 255)), true
}

// MachineSensors returns the sensors of a BMC that measures a [Machine].
func MachineSensors(live func() Machine) []IPMISensor {
	return []IPMISensor{
		{Name: "Inlet Temp", Entity: 0x37, Unit: 1, M: 5, RExp: -1, Live: func() float64 { return live().Inlet }},
		{Name: "CPU1 Temp", Entity: 0x03, Unit: 1, Signed: true, Live: func() float64 { return live().CPUTemp }},
		{Name: "Exhaust Temp", Entity: 0x07, Unit: 1, Signed: true, Live: func() float64 { return live().Exhaust }},
		{Name: "System Power", Entity: 0x07, Unit: 6, M: 4, Live: func() float64 { return live().Watts }},
		{Name: "Fan1", Entity: 0x1d, Unit: 18, M: 100, Live: func() float64 { return live().FanRPM }},
	}
}

// IPMI is an emulated BMC that speaks IPMI v2.0 over UDP, on the reference server of go-ipmi.
type IPMI struct {
	conn   *net.UDPConn
	bmc    *bmc.BMC
	server *server.Server

	// Faults, which may be set while it runs.
	Silent      atomic.Bool // drops every request
	Busy        atomic.Bool // answers every sensor command "node busy"
	NoSDRInOne  bool        // cannot return a record in one piece; set it before Run
	Requests    atomic.Int64
	OpenedTotal atomic.Int64 // sessions opened since it runs

	mu      sync.Mutex // guards what follows
	sensors map[uint8]IPMISensor
	byName  map[string]uint8
	used    map[uint32]bool // sessions
	dcmi    int             // watts; -1 where there is no DCMI, -2 where DCMI does not measure
}

// NewIPMI returns a BMC with one user that listens on a port of the loopback and answers while Run runs. It
// has no DCMI until SetDCMI.
func NewIPMI(username, password string, list ...IPMISensor) (*IPMI, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	e := &IPMI{conn: conn, sensors: map[uint8]IPMISensor{}, byName: map[string]uint8{}, used: map[uint32]bool{}, dcmi: -1}
	hal := mock.New()
	for i, s := range list {
		number := uint8(i + 1)
		e.sensors[number], e.byName[s.Name] = s, number
		if err := hal.Storage().SDR().Write(context.Background(), uint16(i+1), s.record(uint16(i+1), number)); err != nil {
			return nil, err
		}
	}
	var guid [16]byte
	_, _ = rand.Read(guid[:])
	e.bmc = bmc.New(bmc.DeviceInfo{DeviceID: 0x20, IPMIVersion: 0x20}, guid, hal)
	u, err := e.bmc.Users.Add(2, username)
	if err != nil {
		return nil, err
	}
	copy(u.Password[:], password)
	u.Password20, u.Enabled = len(password) > 16, true
	u.ChannelAccess[1] = bmc.UserChannelAccess{MaxPrivilege: bmc.PrivilegeLevelAdministrator, Enabled: true}
	reg := handlers.NewRegistry()
	reg.Use(e.count)
	handlers.RegisterAllHandlers(reg)
	reg.RegisterFunc(types.CommandGetSensorReading, e.reading)
	reg.RegisterFunc(types.CommandGetDCMIPowerReading, e.power)
	e.server = server.NewServer(e.bmc, socket{e}, server.WithHandlerRegistry(reg))
	return e, nil
}

// Addr returns host:port.
func (e *IPMI) Addr() string { return e.conn.LocalAddr().String() }

// Run answers until ctx is done.
func (e *IPMI) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = e.server.Close() })
	defer stop()
	return e.server.Serve(ctx)
}

// Set changes the raw byte of a sensor.
func (e *IPMI) Set(name string, raw uint8) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.byName[name]
	s := e.sensors[n]
	s.Raw = raw
	e.sensors[n] = s
}

// SetDCMI gives the BMC DCMI, which measures that many watts; a negative number makes it answer that it
// measures none.
func (e *IPMI) SetDCMI(watts int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dcmi = watts; watts < 0 {
		e.dcmi = -2
	}
}

// Forget ends all sessions, as a restart of the BMC does.
func (e *IPMI) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.used {
		_ = e.bmc.Sessions.Close(id)
	}
	clear(e.used)
}

// Sessions returns how many sessions are open now.
func (e *IPMI) Sessions() int { return e.bmc.Sessions.Count() }

func (e *IPMI) count(next handlers.Handler) handlers.Handler {
	return handlers.HandlerFunc(func(ctx context.Context, h *handlers.HandlerContext, req []byte) ([]byte, types.CompletionCode, error) {
		e.Requests.Add(1)
		if h.Session != nil {
			e.mu.Lock()
			e.used[h.Session.BMCID] = true
			e.mu.Unlock()
		}
		switch h.Command.ID {
		case types.CommandGetSDR.ID:
			if h.Command.NetFn == types.CommandGetSDR.NetFn && e.NoSDRInOne && len(req) == 6 && req[5] > 16 {
				return nil, types.CodeCannotReturnRequestedDataBytes, nil
			}
		case types.CommandGetSensorReading.ID:
			if h.Command.NetFn == types.CommandGetSensorReading.NetFn && e.Busy.Load() {
				return nil, types.CodeNodeBusy, nil
			}
		}
		return next.Handle(ctx, h, req)
	})
}

func (e *IPMI) reading(_ context.Context, _ *handlers.HandlerContext, req []byte) ([]byte, types.CompletionCode, error) {
	if len(req) < 1 {
		return nil, types.CodeRequestDataLengthInvalid, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok := e.sensors[req[0]]
	if !ok {
		return nil, types.CodeRequestedDataNotPresent, nil
	}
	const scanned, unavailable = 0x40, 0x20
	raw, ok := s.raw()
	if !ok {
		return []byte{0, scanned | unavailable, 0xc0}, types.CodeOK, nil
	}
	return []byte{raw, scanned, 0xc0}, types.CodeOK, nil
}

func (e *IPMI) power(context.Context, *handlers.HandlerContext, []byte) ([]byte, types.CompletionCode, error) {
	e.mu.Lock()
	watts := e.dcmi
	e.mu.Unlock()
	if watts == -1 {
		return nil, types.CodeInvalidCommand, nil
	}
	out := make([]byte, 18) // DCMI 1.5 table 6-16
	out[0] = 0xdc
	if watts >= 0 {
		for _, off := range []int{1, 3, 5, 7} {
			binary.LittleEndian.PutUint16(out[off:], uint16(watts))
		}
		out[17] = 0x40
	}
	binary.LittleEndian.PutUint32(out[9:], uint32(time.Now().Unix()))
	binary.LittleEndian.PutUint32(out[13:], 1000)
	return out, types.CodeOK, nil
}

// record packs a full sensor record (IPMI v2.0 table 43-1).
func (s IPMISensor) record(id uint16, number uint8) []byte {
	m := cmp.Or(s.M, 1)
	format := types.SensorAnalogUnitFormat_Unsigned
	if s.Signed {
		format = types.SensorAnalogUnitFormat_2sComplement
	}
	kind := types.SensorType(0x01)
	switch s.Unit {
	case 6:
		kind = 0x0b
	case 18:
		kind = 0x04
	}
	f := types.SDRFull{
		GeneratorID: 0x20, SensorNumber: types.SensorNumber(number), SensorEntityID: types.EntityID(s.Entity), SensorEntityInstance: 1,
		SensorType: kind, SensorEventReadingType: 0x01,
		SensorUnit:         types.SensorUnit{AnalogDataFormat: format, BaseUnit: types.SensorUnitType(s.Unit)},
		ReadingFactors:     types.ReadingFactors{M: m, B: s.B, B_Exp: s.BExp, R_Exp: s.RExp},
		IDStringTypeLength: types.TypeLength(0xc0 | len(s.Name)), IDStringBytes: []byte(s.Name),
	}
	return f.Pack(id)
}

// socket is the BMC's side of the network, where faults happen.
type socket struct{ e *IPMI }

func (s socket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.e.conn.ReadFrom(p)
		if err != nil || !s.e.Silent.Load() {
			const payloadType, openSession = 5, 0x10
			if n > payloadType && p[payloadType] == openSession {
				s.e.OpenedTotal.Add(1)
			}
			return n, from, err
		}
	}
}

func (s socket) WriteTo(p []byte, to net.Addr) (int, error) { return s.e.conn.WriteTo(p, to) }
func (s socket) Close() error                               { return s.e.conn.Close() }
func (s socket) LocalAddr() net.Addr                        { return s.e.conn.LocalAddr() }

// String tells where it listens.
func (e *IPMI) String() string { return fmt.Sprintf("IPMI BMC at %s", e.Addr()) }
