package compat

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/power"
)

// A badTerm is why a term of a NodeConfig cannot be used: inletTemp, deltaP or predictorTerm.
type badTerm struct {
	term string
	err  error
}

const predictorTerm = "predictor"

type badTerms []badTerm

// err joins them; of none it is nil.
func (b badTerms) err() error {
	errs := make([]error, len(b))
	for i := range b {
		errs[i] = b[i].err
	}
	return errors.Join(errs...)
}

// intervals takes terms out of the spec of a NodeConfig whose fetchInterval is no duration: WAO's definition calls it any text, and what
// cannot be read of one term would take all of them along.
func intervals(spec map[string]any) (bad badTerms) {
	for _, x := range []struct{ part, field, term string }{{"metricsCollector", "inletTemp", "inletTemp"}, {"metricsCollector", "deltaP", "deltaP"},
		{"predictor", "powerConsumption", predictorTerm}, {"predictor", "powerConsumptionEndpointProvider", predictorTerm}} {
		part, _ := spec[x.part].(map[string]any)
		term, _ := part[x.field].(map[string]any)
		text, ok := term["fetchInterval"].(string)
		if !ok {
			continue
		}
		if _, err := time.ParseDuration(text); err != nil {
			bad = append(bad, badTerm{x.term, fmt.Errorf("%s.%s: fetchInterval is %.64q: want a duration, such as 15s", x.part, x.field, text)})
			if x.term == predictorTerm { // the one is not to stand in for the other
				delete(spec, x.part)
			} else {
				delete(part, x.field)
			}
		}
	}
	return bad
}

// Expand returns the NodeConfig that WAO makes of a template and a node. Types, endpoints and names of Secrets are
// templates, of [controllers.Render]'s kind and with its limits. Beside an error it has the terms that could be made.
func Expand(t *NodeConfigTemplate, n *v1.Node) (NodeConfig, error) {
	c, bad := expand(t, n)
	return c, bad.err()
}

func expand(t *NodeConfigTemplate, n *v1.Node) (NodeConfig, badTerms) {
	c := NodeConfig{NodeName: n.Name}
	var bad badTerms
	// The texts ride on a profile's, so that one set of rules is for both.
	text := func(s string, secret bool) (string, error) {
		x := v1alpha1.Sensor{URL: s}
		if secret {
			x = v1alpha1.Sensor{SecretName: s}
		}
		p, err := controllers.Render(&v1alpha1.ProfileTemplate{Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{x}}}, n)
		if err != nil {
			return "", err
		}
		return p.Spec.Sensors[0].URL + p.Spec.Sensors[0].SecretName, nil
	}
	term := func(name, field string, e EndpointTerm) EndpointTerm {
		var errs [3]error
		e.Type, errs[0] = text(e.Type, false)
		e.Endpoint, errs[1] = text(e.Endpoint, false)
		if e.BasicAuthSecret != nil {
			secret := new(v1.LocalObjectReference)
			secret.Name, errs[2] = text(e.BasicAuthSecret.Name, true)
			e.BasicAuthSecret = secret
		}
		if err := errors.Join(errs[:]...); err != nil {
			bad = append(bad, badTerm{name, fmt.Errorf("%s: %w", field, err)})
			return EndpointTerm{}
		}
		return e
	}
	m, p := &t.Template.MetricsCollector, &t.Template.Predictor
	c.MetricsCollector.InletTemp = term("inletTemp", "metricsCollector.inletTemp", m.InletTemp)
	c.MetricsCollector.DeltaP = term("deltaP", "metricsCollector.deltaP", m.DeltaP)
	before := len(bad)
	if p.PowerConsumption != nil {
		c.Predictor.PowerConsumption = new(term(predictorTerm, "predictor.powerConsumption", *p.PowerConsumption))
	}
	if p.PowerConsumptionEndpointProvider != nil {
		c.Predictor.PowerConsumptionEndpointProvider = new(term(predictorTerm, "predictor.powerConsumptionEndpointProvider", *p.PowerConsumptionEndpointProvider))
	}
	if len(bad) > before { // the one is not to stand in for the other
		c.Predictor.PowerConsumption, c.Predictor.PowerConsumptionEndpointProvider = nil, nil
	}
	return c, bad
}

// Profile returns what a NodeConfig of a namespace says, as a profile. Beside an error, which tells of every term that cannot be used, it
// has the others.
func (w *WAO) Profile(c *NodeConfig, namespace string) (v1alpha1.ProfileTemplate, error) {
	p, bad := w.profile(c, namespace)
	return p, bad.err()
}

func (w *WAO) profile(c *NodeConfig, namespace string) (v1alpha1.ProfileTemplate, badTerms) {
	var p v1alpha1.ProfileTemplate
	var bad badTerms
	for _, x := range []struct {
		name string
		term *EndpointTerm
		kind v1alpha1.Kind
	}{{"inletTemp", &c.MetricsCollector.InletTemp, "inlet_temp_celsius"}, {"deltaP", &c.MetricsCollector.DeltaP, "pressure_delta_pascals"}} {
		if x.term.Type == "" && x.term.Endpoint == "" {
			continue
		}
		s, err := w.sensor(x.term, namespace)
		if err != nil {
			bad = append(bad, badTerm{x.name, fmt.Errorf("metricsCollector.%s: %w", x.name, err)})
			continue
		}
		s.Name = x.name
		if s.Type == "pressure" {
			s.Kinds = []v1alpha1.Kind{x.kind}
		}
		p.Spec.Sensors = append(p.Spec.Sensors, s)
	}
	if err := w.predictor(c, namespace, &p.Spec); err != nil {
		bad = append(bad, badTerm{predictorTerm, err})
	}
	return p, bad
}

func (w *WAO) secret(e *EndpointTerm, namespace string) (string, error) {
	if e.BasicAuthSecret == nil || e.BasicAuthSecret.Name == "" {
		return "", nil
	}
	if errs := validation.IsDNS1123Subdomain(e.BasicAuthSecret.Name); len(errs) > 0 {
		return "", fmt.Errorf("basicAuthSecret: %.64q is no name of a Secret: %s", e.BasicAuthSecret.Name, errs[0])
	}
	if namespace != w.Namespace {
		return "", fmt.Errorf("basicAuthSecret: %s/%.64s is in another namespace than %q, the one that is read", namespace, e.BasicAuthSecret.Name, w.Namespace)
	}
	return e.BasicAuthSecret.Name, nil
}

func (w *WAO) tls(address string) *v1alpha1.TLS {
	if w.InsecureSkipVerify && strings.HasPrefix(address, "https://") {
		return &v1alpha1.TLS{InsecureSkipVerify: true}
	}
	return nil
}

func (w *WAO) sensor(e *EndpointTerm, namespace string) (v1alpha1.Sensor, error) {
	types := map[string]string{"Redfish": "redfish", "DifferentialPressureAPI": "pressure"}
	s := v1alpha1.Sensor{Type: types[e.Type], URL: strings.TrimSuffix(e.Endpoint, "/"), Timeout: &metav1.Duration{Duration: 5 * time.Second}, TLS: w.tls(e.Endpoint)}
	if s.Type == "" {
		return s, fmt.Errorf("type %.64q measures nothing here: want Redfish or DifferentialPressureAPI", e.Type)
	}
	err := address(e.Endpoint)
	if err != nil {
		return s, fmt.Errorf("endpoint%w", err)
	}
	if s.SecretName, err = w.secret(e, namespace); err != nil {
		return s, err
	}
	s.Plaintext = s.SecretName != "" && strings.HasPrefix(s.URL, "http://") // as WAO does
	if f := e.FetchInterval; f != nil && f.Duration >= time.Second {
		s.Interval = &metav1.Duration{Duration: min(f.Duration, 24*time.Hour)} // what a profile may say
	}
	return s, nil
}

// address tells what is wrong with a URL that another system's object names, in words that go on after the name of its field: as part of a
// profile, the API server would refuse the whole of it for that. It does not repeat what may hold a password.
func address(text string) error {
	u, err := url.Parse(text)
	switch {
	case strings.Contains(text, "@"):
		return errors.New(": holds an @: credentials belong in a Secret")
	case !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "http://") || err == nil && u.Host == "":
		return fmt.Errorf(" %.64q: want https://HOST… or http://HOST…", text)
	case err != nil:
		return errors.New(": is no URL")
	case len(text) > 1024:
		return errors.New(": has more than 1024 characters")
	}
	return nil
}

func (w *WAO) predictor(c *NodeConfig, namespace string, spec *v1alpha1.NodeProfileSpec) error {
	direct, provider := c.Predictor.PowerConsumption, c.Predictor.PowerConsumptionEndpointProvider
	r := &v1alpha1.RemoteModel{Protocol: "openInference", Timeout: &metav1.Duration{Duration: 10 * time.Second}}
	var term *EndpointTerm
	var field string
	switch {
	case direct != nil && direct.Endpoint != "": // WAO asks the provider only for what is left out
		term, field = direct, "predictor.powerConsumption"
		if direct.Type != "V2InferenceProtocol" {
			return fmt.Errorf("%s: type %.64q predicts nothing here: want V2InferenceProtocol", field, direct.Type)
		}
		if err := address(direct.Endpoint); err != nil {
			return fmt.Errorf("%s: endpoint%w", field, err)
		}
		var err error
		if r.URL, r.Name, r.Version, err = inferEndpoint(direct.Endpoint); err != nil {
			return fmt.Errorf("%s: endpoint: %w", field, err)
		}
	case provider != nil && provider.Endpoint != "":
		term, field = provider, "predictor.powerConsumptionEndpointProvider"
		if provider.Type != "Redfish" {
			return fmt.Errorf("%s: type %.64q names no model server: want Redfish", field, provider.Type)
		}
		if err := address(provider.Endpoint); err != nil {
			return fmt.Errorf("%s: endpoint%w", field, err)
		}
		r.URL, r.Discover = strings.TrimSuffix(provider.Endpoint, "/"), true
	default:
		return nil
	}
	var err error
	if r.SecretName, err = w.secret(term, namespace); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	r.Plaintext = r.SecretName != "" && strings.HasPrefix(r.URL, "http://")
	r.TLS = w.tls(r.URL)
	if w.CPUUsageFormat == Percent { // without features, a model is asked as by Raw
		r.Features = []v1alpha1.Feature{{Input: string(power.InputUtilization), Scale: new(100.0)}, {Input: string(power.InputInletTemp), Scale: new(1.0)},
			{Input: string(power.InputPressureDelta), Scale: new(1.0)}}
	}
	spec.Model = &v1alpha1.ModelReference{Remote: r}
	return nil
}

// inferEndpoint takes http://HOST/v2/models/NAME/versions/VERSION/infer apart.
func inferEndpoint(endpoint string) (base, name, version string, err error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", "", "", errors.New("is no URL")
	}
	before, path, ok := strings.Cut(u.Path, "/v2/models/")
	parts := strings.Split(path, "/")
	if len(parts) == 4 && parts[1] == "versions" {
		version = parts[2]
		parts = []string{parts[0], parts[3]}
	}
	if !ok || len(parts) != 2 || parts[0] == "" || parts[1] != "infer" {
		return "", "", "", fmt.Errorf("%.64q: want …/v2/models/NAME/versions/VERSION/infer or …/v2/models/NAME/infer", u.Redacted())
	}
	if len(parts[0]) > 256 {
		return "", "", "", errors.New("the model's name has more than 256 characters")
	}
	if len(version) > 64 {
		return "", "", "", errors.New("the model's version has more than 64 characters")
	}
	u.Path, u.RawQuery, u.Fragment = before, "", ""
	return u.String(), parts[0], version, nil
}
