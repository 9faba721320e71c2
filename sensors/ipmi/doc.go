// Package ipmi reads temperatures, fan speed and power from BMCs by IPMI v2.0 over LAN (RMCP+).
//
// Its main type is [Source]. It keeps one session per BMC, uses it for one request at a time, and opens a new
// one when the BMC forgot it. The cipher suite is pinned (3 by default, 17 where the BMC has it), so that a
// wrong password is tried once and a BMC cannot talk the session down to a weaker one. Sensors are found in
// the BMC's own sensor data records and converted by them; power comes from DCMI, else from the sensor of
// the whole server in watts, else from the sum of the supplies' inputs.
//
// A datagram is handed on only if its integrity code proves that the BMC sent it in this session.
//
// What it gives: [sensors.InletTemp], [sensors.ExhaustTemp], [sensors.CPUTemp], [sensors.FanSpeed] and
// [sensors.Power], each where the BMC has it. IPMI tells no time of measurement: At is when the answer came.
package ipmi
