package ipmi

import (
	"cmp"
	"slices"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/leastwatt/leastwatt/internal/sensorname"
	"github.com/leastwatt/leastwatt/sensors"
)

// Entities of IPMI v2.0 table 43-13. 40h is DCMI 1.0's name for 37h.
const (
	entityProcessor   types.EntityID = 0x03
	entitySupply      types.EntityID = 0x0a
	entityAirInlet    types.EntityID = 0x37
	entityProcessor2  types.EntityID = 0x41 // DCMI 1.0
	entityAirInletOld types.EntityID = 0x40
)

// A quantity is what a sensor measures, after conversion to the unit of our kinds.
type quantity uint8

const (
	celsius quantity = iota + 1
	rpm
	watts
)

func (r *record) quantity() (quantity, bool) {
	switch r.unit.BaseUnit {
	case types.SensorUnitType_DegreesC, types.SensorUnitType_DegreesF, types.SensorUnitType_DegreesK:
		return celsius, true
	case types.SensorUnitType_RPM:
		return rpm, true
	case types.SensorUnitType_Watts:
		return watts, true
	}
	return 0, false
}

// choice says which sensors give a kind and how they are put together.
type choice struct {
	records []record
	sum     bool // of all, which then must all answer; else the largest that answers
}

// choose returns the sensors of each kind.
//
// Inlet: the one named in the configuration; else an entity "air inlet"; else a name with inlet or intake;
// else one with ambient. Of several the first by sensor number. Power: the one named; else a name of the whole
// server; else the sum of the supplies' inputs.
func choose(records []record, named map[sensors.Kind]string) map[sensors.Kind]choice {
	out := make(map[sensors.Kind]choice)
	one := func(kind sensors.Kind, q quantity, rank func(*record) int) {
		if r, ok := best(records, q, rank); ok {
			out[kind] = choice{records: []record{r}}
		}
	}
	many := func(kind sensors.Kind, q quantity, sum bool, want func(*record) bool) {
		var of []record
		for i := range records {
			if got, _ := records[i].quantity(); got == q && want(&records[i]) {
				of = append(of, records[i])
			}
		}
		if len(of) > 0 {
			out[kind] = choice{of, sum}
		}
	}
	one(sensors.InletTemp, celsius, func(r *record) int {
		if r.entity == entityAirInlet || r.entity == entityAirInletOld {
			return 3
		}
		if r.entity == entitySupply || r.entity == entityProcessor {
			return 0
		}
		return sensorname.InletRank(r.name)
	})
	one(sensors.ExhaustTemp, celsius, func(r *record) int {
		if r.entity != entitySupply && sensorname.Exhaust(r.name) {
			return 1
		}
		return 0
	})
	many(sensors.CPUTemp, celsius, false, func(r *record) bool {
		return sensorname.CPUTemp(r.name) || (r.entity == entityProcessor || r.entity == entityProcessor2) && (r.name == "Temp" || r.name == "")
	})
	many(sensors.FanSpeed, rpm, false, func(*record) bool { return true })
	many(sensors.Power, watts, true, func(r *record) bool { return sensorname.SupplyInput(r.name) })
	one(sensors.Power, watts, func(r *record) int {
		if r.entity != entitySupply && r.entity != entityProcessor && sensorname.ServerPower(r.name) {
			return 1
		}
		return 0
	})
	for kind, name := range named {
		out[kind] = choice{} // a name that is missing is an error, not another sensor
		for _, r := range records {
			if r.name == name {
				out[kind] = choice{records: []record{r}}
				break
			}
		}
	}
	return out
}

func best(records []record, q quantity, rank func(*record) int) (record, bool) {
	of := slices.Clone(records)
	of = slices.DeleteFunc(of, func(r record) bool { got, _ := r.quantity(); return got != q || rank(&r) == 0 })
	if len(of) == 0 {
		return record{}, false
	}
	return slices.MinFunc(of, func(a, b record) int {
		return cmp.Or(cmp.Compare(rank(&b), rank(&a)), cmp.Compare(a.number, b.number))
	}), true
}
