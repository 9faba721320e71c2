package ipmi

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/bougou/go-ipmi/pkg/command/storage"
	"github.com/bougou/go-ipmi/pkg/types"
)

// A record is what a full sensor data record says of one sensor that gives numbers.
type record struct {
	name   string
	number uint8
	owner  uint8 // IPMB address; 20h is the BMC itself
	lun    uint8
	entity types.EntityID
	kind   types.SensorType
	unit   types.SensorUnit
	linear types.LinearizationFunc
	factor types.ReadingFactors
}

// An inventory is a BMC's list of sensors. A walk over hundreds of records may take longer than one Read
// has; it goes on where it stopped.
type inventory struct {
	records  []record
	whole    bool
	checked  bool // against the repository's own state in this session
	stamp    storage.GetSDRRepoInfoResponse
	next     uint16
	seen     int
	chunk    uint8 // bytes per request; 0 is the whole record
	reserved uint16
}

// maxRecords bounds what a BMC can make us keep. Large servers have some 500 records.
const maxRecords = 4096

// recheck has the next walk ask whether the repository changed.
func (v *inventory) recheck() { v.checked, v.reserved = false, 0 }

// walk completes the inventory, or says how far it came.
func (c *controller) walk(ctx context.Context) error {
	v := &c.inventory
	if !v.checked {
		var info storage.GetSDRRepoInfoResponse
		if err := c.do(ctx, &storage.GetSDRRepoInfoRequest{}, &info); err != nil {
			return fmt.Errorf("sensor records: %w", err)
		}
		if info != v.stamp {
			*v = inventory{stamp: info, chunk: v.chunk}
		}
		v.checked = true
	}
	for !v.whole {
		raw, next, err := c.readRecord(ctx, v.next)
		if err != nil {
			return fmt.Errorf("sensor records: %d of %d read: %w", v.seen, v.stamp.RecordCount, err)
		}
		if r, ok := parseRecord(raw); ok {
			v.records = append(v.records, r)
		}
		v.seen++
		v.next, v.whole = next, next == 0xffff
		if !v.whole && (v.seen >= maxRecords || v.seen > 2*int(v.stamp.RecordCount)+16) {
			seen, said := v.seen, v.stamp.RecordCount
			*v = inventory{}
			return fmt.Errorf("%w: %d sensor records and no end, the BMC announced %d", errBadAnswer, seen, said)
		}
	}
	return nil
}

// readRecord returns one record. Many BMCs cannot send one in a single answer (CAh); then it is read in
// pieces under a reservation (IPMI v2.0 §33.12).
func (c *controller) readRecord(ctx context.Context, id uint16) (raw []byte, next uint16, err error) {
	v := &c.inventory
	if v.chunk == 0 {
		var res storage.GetSDRResponse
		err := c.do(ctx, &storage.GetSDRRequest{RecordID: id, ReadBytes: 0xff}, &res)
		if err == nil {
			return res.RecordData, res.NextRecordID, nil
		}
		if !completed(err, types.CodeCannotReturnRequestedDataBytes, types.CodeRequestDataLengthLimitExceeded, types.CodeUnspecifiedError,
			types.CodeReservationCanceled, types.CodeRequestDataFieldInvalid, types.CodeParameterOutOfRange) {
			return nil, 0, err
		}
		v.chunk = 16
	}
	for range 3 {
		raw, next, err = c.readPieces(ctx, id, v.chunk)
		switch {
		case completed(err, types.CodeReservationCanceled): // someone else reserved it
			v.reserved = 0
		case completed(err, types.CodeCannotReturnRequestedDataBytes) && v.chunk > 8:
			v.chunk = 8
		default:
			return raw, next, err
		}
	}
	return raw, next, err
}

func (c *controller) readPieces(ctx context.Context, id uint16, chunk uint8) (raw []byte, next uint16, err error) {
	v := &c.inventory
	if v.reserved == 0 {
		var res storage.ReserveSDRRepoResponse
		if err := c.do(ctx, &storage.ReserveSDRRepoRequest{}, &res); err != nil && !completed(err, types.CodeInvalidCommand) {
			return nil, 0, err
		}
		v.reserved = res.ReservationID
	}
	const header = types.SDRRecordHeaderSize
	for total := header; len(raw) < total; {
		want := uint8(min(total-len(raw), int(chunk)))
		if len(raw) == 0 {
			want = uint8(header)
		}
		var res storage.GetSDRResponse
		req := &storage.GetSDRRequest{ReservationID: v.reserved, RecordID: id, ReadOffset: uint8(len(raw)), ReadBytes: want}
		if err := c.do(ctx, req, &res); err != nil {
			return nil, 0, err
		}
		if n := len(res.RecordData); n == 0 || n > int(want) {
			return nil, 0, fmt.Errorf("%w: record %04xh: asked for %d bytes, got %d", errBadAnswer, id, want, n)
		}
		raw, next = append(raw, res.RecordData...), res.NextRecordID
		if len(raw) >= header {
			total = min(header+int(raw[4]), 255)
			if types.SDRRecordType(raw[3]) != types.SDRRecordTypeFullSensor {
				break // only full records give numbers: the header is enough to go on
			}
		}
	}
	return raw, next, nil
}

// parseRecord returns the record of a sensor that can give temperature, speed or power; most cannot.
func parseRecord(raw []byte) (record, bool) {
	sdr, err := types.ParseSDR(raw, 0)
	if err != nil || sdr.Full == nil {
		return record{}, false // one bad record must not lose the others
	}
	f := sdr.Full
	r := record{
		name: recordName(f), number: uint8(f.SensorNumber), owner: f.GeneratorID.OwnerID(), lun: f.GeneratorID.LUN(),
		entity: f.SensorEntityID, kind: f.SensorType, unit: f.SensorUnit, linear: f.LinearizationFunc, factor: f.ReadingFactors,
	}
	if !f.HasAnalogReading() || !r.unit.IsAnalog() || r.unit.Percentage || r.unit.RateUnit != 0 || r.unit.ModifierRelation != 0 {
		return record{}, false
	}
	_, ok := r.quantity()
	return r, ok
}

// recordName returns the printable part of a sensor's name.
func recordName(f *types.SDRFull) string {
	chars, err := f.IDStringTypeLength.Chars(f.IDStringBytes)
	if err != nil {
		chars = f.IDStringBytes
	}
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, string(chars)))
}
