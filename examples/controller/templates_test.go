package main

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

func quantity(text string) resource.Quantity { return resource.MustParse(text) }

func newTemplate(name, url string, labels map[string]string) *v1alpha1.NodeProfileTemplate {
	return &v1alpha1.NodeProfileTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.NodeProfileTemplateSpec{
		NodeSelector: metav1.LabelSelector{MatchLabels: labels},
		Template:     v1alpha1.ProfileTemplate{Labels: map[string]string{"made": name}, Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{{Type: "kepler", URL: url}}}}}}
}

func urlOf(n *v1alpha1.NodeProfile) string {
	if n == nil || len(n.Spec.Sensors) == 0 {
		return ""
	}
	return n.Spec.Sensors[0].URL
}

// A template makes profiles, changes them with itself and with the node's labels and address, puts right what others
// changed, and takes them back; profiles that somebody else made stay as they are.
func (s *server) testTemplates(t *testing.T) {
	s.run(t)
	rack := map[string]string{"rack": "r1"}
	s.apply(t, &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "own"}, Spec: v1alpha1.NodeProfileSpec{Hardware: "mine"}},
		newNode("t1", "10.0.0.1", rack), newNode("t2", "10.0.0.2", map[string]string{"rack": "r2"}), newNode("own", "10.0.0.3", rack))
	low := newTemplate("low", "http://10.1.0.{{.IPv4.Octet4}}/metrics", rack)
	s.apply(t, low)
	until(t, "t1 has a profile", func() bool { return urlOf(s.profile(t, "t1")) == "http://10.1.0.1/metrics" })
	p := s.profile(t, "t1")
	if o := metav1.GetControllerOf(p); o == nil || o.Kind != "NodeProfileTemplate" || o.Name != "low" || p.Labels["made"] != "low" || p.Spec.Sensors[0].Timeout == nil {
		t.Errorf("owner %v, labels %v, %+v", o, p.Labels, p.Spec)
	}
	if s.profile(t, "t2") != nil || s.profile(t, "own").Spec.Hardware != "mine" || urlOf(s.profile(t, "own")) != "" {
		t.Error("a profile that is not the template's to make")
	}
	until(t, "the template tells that one node is taken", func() bool {
		x := new(v1alpha1.NodeProfileTemplate)
		if err := s.client.Get(t.Context(), client.ObjectKey{Name: "low"}, x); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(x.Status.Conditions, controllers.Ready)
		return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, `"own"`) && x.Status.Matching == 2 && x.Status.Profiles == 1
	})

	high := newTemplate("high", "http://{{.Name}}:9999/metrics", map[string]string{})
	high.Spec.NodeSelector = metav1.LabelSelector{}
	high.Spec.Priority = 1
	s.apply(t, high)
	until(t, "the template of higher priority wins", func() bool {
		return urlOf(s.profile(t, "t1")) == "http://t1:9999/metrics" && urlOf(s.profile(t, "t2")) == "http://t2:9999/metrics"
	})
	if o := metav1.GetControllerOf(s.profile(t, "t1")); o == nil || o.Name != "high" {
		t.Errorf("owner %v", o)
	}
	until(t, "the other one tells what goes before it", func() bool {
		if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(low), low); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(low.Status.Conditions, controllers.Ready)
		return low.Status.Profiles == 0 && c != nil && strings.Contains(c.Message, "1 have the profile of NodeProfileTemplate/high")
	})
	if err := s.client.Delete(t.Context(), high); err != nil {
		t.Fatal(err)
	}
	until(t, "the other template is back", func() bool {
		return urlOf(s.profile(t, "t1")) == "http://10.1.0.1/metrics" && s.profile(t, "t2") == nil
	})

	changed := s.profile(t, "t1")
	changed.Spec.Sensors[0].URL = "http://elsewhere/metrics"
	if err := s.client.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	until(t, "a change by hand is put right", func() bool { return urlOf(s.profile(t, "t1")) == "http://10.1.0.1/metrics" })
	if err := s.client.Delete(t.Context(), s.profile(t, "t1")); err != nil {
		t.Fatal(err)
	}
	until(t, "a deleted profile is made again", func() bool { n := s.profile(t, "t1"); return n != nil && n.UID != p.UID })

	patch := func(o client.Object, change func()) {
		t.Helper()
		if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		old := o.DeepCopyObject().(client.Object)
		change()
		if err := s.client.Patch(t.Context(), o, client.MergeFrom(old)); err != nil {
			t.Fatal(err)
		}
	}
	patch(low, func() { low.Spec.Template.Spec.Sensors[0].URL = "http://10.2.0.{{.IPv4.Octet4}}/metrics" })
	until(t, "a changed template changes profiles", func() bool { return urlOf(s.profile(t, "t1")) == "http://10.2.0.1/metrics" })
	patch(low, func() { low.Spec.Template.Labels = map[string]string{"other": "yes"} })
	until(t, "a label that the template has no more goes", func() bool {
		p := s.profile(t, "t1")
		_, old := p.Labels["made"]
		return !old && p.Labels["other"] == "yes"
	})
	n := newNode("t2", "", nil)
	patch(n, func() { n.Labels["rack"] = "r1" })
	until(t, "a node that fits now gets its profile", func() bool { return urlOf(s.profile(t, "t2")) == "http://10.2.0.2/metrics" })
	patch(n, func() { n.Labels["rack"] = "r9" })
	until(t, "a node that fits no more loses it", func() bool { return s.profile(t, "t2") == nil })
	patch(low, func() {
		low.Spec.NodeSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "rack", Operator: "in", Values: []string{"r1"}}}
	})
	until(t, "a selector that cannot be read is told", func() bool {
		if err := s.client.Get(t.Context(), client.ObjectKey{Name: "low"}, low); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(low.Status.Conditions, controllers.Ready)
		return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "nodeSelector")
	})
	uid := s.profile(t, "t1").UID
	patch(n, func() { n.Labels["rack"] = "r1" }) // t2 had none of this template
	patch(low, func() { low.Spec.Template.Spec.Sensors[0].URL = "http://10.3.0.{{.IPv4.Octet4}}/metrics" })
	until(t, "it is looked at anew", func() bool {
		if err := s.client.Get(t.Context(), client.ObjectKey{Name: "low"}, low); err != nil {
			t.Fatal(err)
		}
		return low.Status.ObservedGeneration == low.Generation && low.Status.Matching == 0 && low.Status.Profiles == 1
	})
	if p := s.profile(t, "t1"); p == nil || p.UID != uid || urlOf(p) != "http://10.2.0.1/metrics" || s.profile(t, "t2") != nil {
		t.Errorf("a template whose selector cannot be read leaves %+v, and makes %+v", p, s.profile(t, "t2"))
	}
	patch(low, func() {
		low.Spec.NodeSelector.MatchExpressions, low.Spec.Template.Spec.Sensors[0].URL = nil, "http://10.2.0.{{.IPv4.Octet4}}/metrics"
	})
	until(t, "a selector that was put right counts", func() bool { return urlOf(s.profile(t, "t2")) == "http://10.2.0.2/metrics" })
	patch(n, func() { n.Labels["rack"] = "r9" })
	until(t, "t2 fits no more", func() bool { return s.profile(t, "t2") == nil })
	patch(low, func() { low.Spec.Template.Spec.Sensors[0].URL = "http://{{.Labels.nobody}}/metrics" })
	until(t, "a template that fails leaves what there is, and tells", func() bool {
		if err := s.client.Get(t.Context(), client.ObjectKey{Name: "low"}, low); err != nil {
			t.Fatal(err)
		}
		c := meta.FindStatusCondition(low.Status.Conditions, controllers.Ready)
		return c != nil && strings.Contains(c.Message, "nobody") && urlOf(s.profile(t, "t1")) == "http://10.2.0.1/metrics"
	})
	if err := s.client.Delete(t.Context(), newNode("t1", "", nil)); err != nil {
		t.Fatal(err)
	}
	until(t, "a node that goes takes its profile along", func() bool { return s.profile(t, "t1") == nil })
	if s.profile(t, "own") == nil {
		t.Error("a profile that somebody else made is gone")
	}
}
