package sensors

// A Kind names what a reading measures. It ends in its unit. Sources may give kinds of their own; those
// below have one meaning everywhere.
type Kind string

// The kinds that Leastwatt itself uses.
const (
	InletTemp       Kind = "inlet_temp_celsius"       // air entering the server
	ExhaustTemp     Kind = "exhaust_temp_celsius"     // air leaving the server
	DeltaT          Kind = "delta_t_celsius"          // exhaust minus inlet
	PressureDelta   Kind = "pressure_delta_pascals"   // static pressure between the aisles
	Power           Kind = "power_watts"              // whole server, AC side
	CPUPower        Kind = "cpu_power_watts"          // packages and memory, as RAPL counts them
	GPUPower        Kind = "gpu_power_watts"          // all GPUs of the server together
	CPUUtilization  Kind = "cpu_utilization_ratio"    // CPU in use over capacity, 0 to 1
	GPUUtilization  Kind = "gpu_utilization_ratio"    // mean over the server's GPUs, 0 to 1
	MemoryUsed      Kind = "memory_used_bytes"        // working set of the node
	CPUUsed         Kind = "cpu_used_cores"           // CPU in use, in cores
	GPUTemp         Kind = "gpu_temp_celsius"         // hottest GPU
	FanSpeed        Kind = "fan_speed_rpm"            // fastest fan
	Energy          Kind = "energy_joules_total"      // counter, whole server
	CPUEnergy       Kind = "cpu_energy_joules_total"  // counter, packages and memory
	CPUTime         Kind = "cpu_time_seconds_total"   // counter, busy CPU time of all cores together
	CPUTemp         Kind = "cpu_temp_celsius"         // hottest CPU
	PressureInlet   Kind = "pressure_inlet_pascals"   // static pressure in front of the server
	PressureExhaust Kind = "pressure_exhaust_pascals" // static pressure behind the server
)

// Kinds returns the kinds of this package.
func Kinds() []Kind {
	return []Kind{InletTemp, ExhaustTemp, DeltaT, PressureDelta, Power, CPUPower, GPUPower, CPUUtilization, GPUUtilization, MemoryUsed,
		CPUUsed, GPUTemp, FanSpeed, Energy, CPUEnergy, CPUTime, CPUTemp, PressureInlet, PressureExhaust}
}
