package main

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func machine() emulate.Machine {
	m := emulate.Blank()
	m.Utilization, m.Inlet, m.Pressure, m.Watts = 0.5, 24, 12, 160
	return m
}

// A door is a BMC whose password can be changed.
type door struct {
	mu  sync.Mutex
	bmc http.Handler
}

func (d *door) lock(password string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bmc = emulate.NewBMC(machine, emulate.BMCOptions{User: "monitor", Password: password})
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	h := d.bmc
	d.mu.Unlock()
	h.ServeHTTP(w, r)
}

func listen(t *testing.T, a *emulate.Authority, h http.Handler) string {
	t.Helper()
	x, err := emulate.Listen(a, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x.URL
}

func linear(t *testing.T, idle, peak power.Watts) string {
	t.Helper()
	text, err := model.Marshal(&model.Model{Name: "fitted", Form: power.Linear{Idle: idle, Peak: peak}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Status tells which sensors answer, which model is used and how far off it is; a rotated Secret is picked up; a
// deleted profile leaves nothing behind.
func (s *server) testSensors(t *testing.T) {
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	bmc := new(door)
	bmc.lock("first")
	secret := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: namespace},
		Data: map[string][]byte{"username": []byte("monitor"), "password": []byte("first"), "ca.crt": authority.PEM()}}
	m := &v1alpha1.PowerModel{ObjectMeta: metav1.ObjectMeta{Name: "lab"}, Spec: v1alpha1.PowerModelSpec{JSON: linear(t, 100, 300),
		NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"lab": "yes"}}}}
	s.apply(t, secret, m, newNode("s1", "10.0.0.1", map[string]string{"lab": "yes"}),
		&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "s1"}, Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{
			{Type: "redfish", URL: listen(t, authority, bmc), SecretName: "bmc"},
			{Type: "kepler", URL: listen(t, nil, emulate.NewKepler("s1", machine, emulate.KeplerOptions{})) + "/metrics", Fallback: []string{"spare"},
				Plausible: v1alpha1.Checks{string(sensors.CPUUtilization): {Max: new(1.0)}}},
			{Type: "pressure", URL: "http://127.0.0.1:1"},
			{Name: "spare", Type: "scaphandre", URL: "http://127.0.0.1:1"}},
			Precedence: v1alpha1.Precedence{string(sensors.Power): {"redfish", "kepler"}}}})
	calls, _, stop := s.run(t)
	condition := func(name, kind string) metav1.Condition {
		n := s.profile(t, name)
		if n == nil {
			return metav1.Condition{}
		}
		if c := meta.FindStatusCondition(n.Status.Conditions, kind); c != nil {
			return *c
		}
		return metav1.Condition{}
	}
	until(t, "two sensors of three answer", func() bool { n := s.profile(t, "s1"); return n.Status.Answering == "2/3" && n.Status.LastRead != nil })
	until(t, "200 W are predicted and 160 W measured", func() bool {
		x := s.profile(t, "s1").Status.Model
		return x != nil && x.Error == "25.0 %" && x.Bias == "+25.0 %" && x.Name == "PowerModel lab (by selector)"
	})
	until(t, "conditions", func() bool {
		return condition("s1", controllers.Ready).Status == metav1.ConditionTrue && condition("s1", controllers.ModelReady).Status == metav1.ConditionTrue
	})
	if spare := s.profile(t, "s1").Status.Sensors[3]; !spare.Standby || spare.Answering || spare.Message != "" {
		t.Errorf("a fallback that is not needed: %+v", spare)
	}
	if check := s.profile(t, "s1").Spec.Sensors[1].Plausible[string(sensors.CPUUtilization)]; check.Settle != 3 {
		t.Errorf("the default of settle is missing: %+v", check)
	}
	if c := condition("s1", controllers.SensorsReady); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "pressure: ") {
		t.Errorf("%+v", c)
	}
	until(t, "the model's nodes are counted", func() bool {
		if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
			t.Fatal(err)
		}
		return m.Status.Nodes == 1 && meta.IsStatusConditionTrue(m.Status.Conditions, controllers.Ready)
	})

	bmc.lock("second")
	until(t, "the old password is refused", func() bool { return s.profile(t, "s1").Status.Answering == "1/3" })
	secret.Data["password"] = []byte("second")
	if err := s.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	until(t, "the new password is used", func() bool { return s.profile(t, "s1").Status.Answering == "2/3" })

	m.Spec.JSON = linear(t, 60, 260) // 160 W at half load
	if err := s.client.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	before := calls.writes.Load()
	until(t, "the new model is right", func() bool {
		x := s.profile(t, "s1").Status.Model
		return x != nil && strings.HasPrefix(x.Error, "0.") || x != nil && strings.HasPrefix(x.Error, "1")
	})
	if n := calls.writes.Load() - before; n > 20 {
		t.Errorf("%d writes for one change", n)
	}
	if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
		t.Fatal(err)
	}
	m.Spec.JSON = `{"format": "leastwatt.model/1", "form": "unheard of"}`
	if err := s.client.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	until(t, "a broken model is told, and that the one before stays in use", func() bool {
		if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(m.Status.Conditions, controllers.Ready)
		return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "stays in use") && m.Status.Nodes == 1 && m.Status.ObservedGeneration == m.Generation
	})
	if x := s.profile(t, "s1").Status.Model; x == nil || x.Name != "PowerModel lab (by selector)" || condition("s1", controllers.Ready).Status != metav1.ConditionTrue {
		t.Errorf("a broken model takes the one before along: %+v", x)
	}
	secret.Data = map[string][]byte{"user": []byte("monitor"), "pass": []byte("second")}
	if err := s.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	until(t, "a Secret without its keys is told", func() bool {
		return strings.Contains(s.profile(t, "s1").Status.Sensors[0].Message, "holds none of the keys username, password")
	})
	secret.Data = map[string][]byte{"username": []byte("monitor"), "password": []byte("second"), "ca.crt": authority.PEM()}
	if err := s.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	until(t, "one that is put right counts", func() bool { return s.profile(t, "s1").Status.Answering == "2/3" })
	if err := s.client.Delete(t.Context(), s.profile(t, "s1")); err != nil {
		t.Fatal(err)
	}
	until(t, "the profile is gone", func() bool { return s.profile(t, "s1") == nil })
	stop()
}
