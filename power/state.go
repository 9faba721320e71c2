package power

// State is one server at one moment: what a model may look at. A nil field was not measured; zero is a
// measurement. A State is passed by value and models do not keep its map.
type State struct {
	// Node names the server; models that serve many servers dispatch on it.
	Node string

	// Utilization is CPU in use over CPU capacity: 0 is idle, 1 is fully busy.
	Utilization float64

	// InletTemp is the temperature of the air that enters the server.
	InletTemp *Celsius

	// PressureDelta is the static pressure difference between the aisles.
	PressureDelta *Pascals

	// Inputs holds anything else that a model was fitted on, by name: hardware counters, GPU activity.
	Inputs map[string]float64
}

// With returns s at another utilization; everything else stays shared.
func (s State) With(utilization float64) State {
	s.Utilization = utilization
	return s
}
