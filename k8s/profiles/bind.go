package profiles

import (
	"fmt"
	"maps"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
)

// bind tells what is known of a machine: by its profile, the PowerModels, and at last the file.
func (p *Provider) bind(m scoring.Machine, file func(scoring.Machine) (scoring.Spec, error)) (scoring.Spec, error) {
	n := p.profile(m.Name)
	var own v1alpha1.NodeProfileSpec
	if n != nil {
		own = *n.spec
	}
	p.errors.bind(m.Name, nil)
	spec, err := p.model(m, n, &own, file)
	if err != nil {
		return scoring.Spec{}, err
	}
	if f := own.Power; f != nil {
		if f.StandbyWatts != nil {
			spec.OffPower = power.Watts(*f.StandbyWatts)
		}
		if f.Speed != nil {
			spec.Capacity.Speed = *f.Speed
		}
		spec.Off = f.Off
		switch {
		case f.WakeJoules != nil:
			spec.Wake = power.Joules(*f.WakeJoules)
		case f.WakeSeconds != nil && f.PeakWatts != nil:
			spec.Wake = power.Joules(*f.WakeSeconds * *f.PeakWatts)
		}
	}
	return spec, nil
}

func (p *Provider) model(m scoring.Machine, n *profile, own *v1alpha1.NodeProfileSpec, file func(scoring.Machine) (scoring.Spec, error)) (scoring.Spec, error) {
	lib := p.models.now.Load()
	spec := scoring.Spec{Name: m.Name, Capacity: power.Capacity{Cores: m.Cores}}
	use := func(e *entry, by string) (scoring.Spec, error) {
		if e.use == nil {
			return scoring.Spec{}, fmt.Errorf("PowerModel %q: %w", e.object.Name, lib.err(e))
		}
		p.errors.bind(m.Name, e)
		spec.Predictor, spec.Prior = e.use, e.model.Prior
		spec.Model = fmt.Sprintf("PowerModel %s (by %s)", e.object.Name, by)
		return spec, nil
	}
	switch ref := own.Model; {
	case ref == nil:
	case ref.PowerModel != "":
		e := lib.all[ref.PowerModel]
		if e == nil {
			return scoring.Spec{}, fmt.Errorf("PowerModel %q: %w: there is none of that name", ref.PowerModel, power.ErrNoModel)
		}
		return use(e, "profile")
	case ref.Published != "":
		s, err := power.FindServer(ref.Published)
		if err != nil {
			return scoring.Spec{}, fmt.Errorf("profile: model.published: %w", err)
		}
		response, err := power.NewInlet(s.Curve(), power.PublishedInletResponse())
		if err != nil {
			return scoring.Spec{}, err
		}
		spec.Predictor, spec.Prior, spec.Model, spec.Capacity.Speed = response, true, "published: "+s.Name(), s.Speed()
		return spec, nil
	case ref.Remote != nil:
		r, err := p.remoteFor(n, m.Cores)
		if err != nil {
			return scoring.Spec{}, fmt.Errorf("profile: model.remote: %w", err)
		}
		spec.Predictor, spec.Model = r.table, "remote: "+r.label
		return spec, nil
	}
	if e, by := lib.find(m, own.Hardware); e != nil {
		return use(e, by)
	}
	if f := own.Power; f != nil && f.IdleWatts != nil && f.PeakWatts != nil {
		spec.Predictor, spec.Prior = power.Linear{Idle: power.Watts(*f.IdleWatts), Peak: power.Watts(*f.PeakWatts)}, true
		spec.Model = "profile: idle and peak"
		return spec, nil
	}
	if own.Hardware != "" {
		with := make(map[string]string, len(m.Labels)+1)
		maps.Copy(with, m.Labels)
		with[config.HardwareLabel] = own.Hardware
		m.Labels = with
	}
	return file(m)
}
