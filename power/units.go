package power

import "strconv"

// Watts is electrical power at the server's inlet (AC side) unless a model says otherwise.
type Watts float64

// Milliwatts returns w in thousandths of a watt.
func (w Watts) Milliwatts() float64 { return float64(w) * 1000 }

// String formats w with two decimals and its unit.
func (w Watts) String() string { return strconv.FormatFloat(float64(w), 'f', 2, 64) + " W" }

// Celsius is a temperature in degrees Celsius.
type Celsius float64

// String formats c with one decimal and its unit.
func (c Celsius) String() string { return strconv.FormatFloat(float64(c), 'f', 1, 64) + " °C" }

// Pascals is a pressure or a difference of pressures in pascals.
type Pascals float64

// String formats p with one decimal and its unit.
func (p Pascals) String() string { return strconv.FormatFloat(float64(p), 'f', 1, 64) + " Pa" }

// Joules is energy in watt-seconds.
type Joules float64

// KilowattHours returns j in kWh (3.6 MJ).
func (j Joules) KilowattHours() float64 { return float64(j) / 3.6e6 }

// String formats j with one decimal and its unit.
func (j Joules) String() string { return strconv.FormatFloat(float64(j), 'f', 1, 64) + " J" }
