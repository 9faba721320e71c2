package profiles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors"
)

// A Secret that lacks a key is told by what it lacks, and not by the device that refuses what is left; the error holds no value.
func TestSecretsThatLackAKey(t *testing.T) {
	p, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range []struct {
		sensor string
		keys   string
		want   string // nothing is right
	}{
		{"redfish", "username password", ""},
		{"redfish", "username password ca.crt-", ""},
		{"redfish", "", "holds none of the keys"},
		{"redfish", "user pass", "holds none of the keys"},
		{"redfish", "username", "has a username and no password"},
		{"redfish", "password", "has a password and no username"},
		{"redfish", "token", "type redfish takes username and password, not a token"},
		{"ipmi", "token", "type ipmi takes username and password, not a token"},
		{"ipmi", "password", ""}, // of the user without a name
		{"pressure", "token", ""},
		{"pressure", "user", "holds none of the keys"},
	} {
		name := fmt.Sprint("bmc", i)
		data := make(map[string][]byte)
		for key := range strings.FieldsSeq(x.keys) {
			if !strings.HasSuffix(key, "-") {
				data[key] = []byte("hunter2")
			}
		}
		p.secrets.known[name] = &secret{data: data}
		url := "https://10.0.0.1"
		if x.sensor == "ipmi" {
			url = "10.0.0.1"
		}
		_, err := p.sensor("n", &v1alpha1.Sensor{Type: x.sensor, URL: url, SecretName: name}, &probe{})
		if text := fmt.Sprint(err); (err == nil) != (x.want == "") || x.want != "" && (!strings.Contains(text, x.want) || !strings.Contains(text, fmt.Sprintf("Secret %q", name))) || strings.Contains(text, "hunter2") {
			t.Errorf("%s with %q: %v, want %q", x.sensor, x.keys, err, x.want)
		}
	}
}

// What a sensor says in a status is what the API server gives back, so that it is not written again and again, and never nothing where it
// does not answer.
func TestMessagesOfSensors(t *testing.T) {
	for what, x := range map[string]struct {
		readings []sensors.Reading
		err      error
		want     string
	}{
		"bytes that are no text": {err: errors.New("answers \xff\xfe"), want: "answers \uFFFD"},
		"a long text":            {err: errors.New("x" + strings.Repeat("é", 400)), want: "…"},
		"nothing":                {want: "gives none of the readings"},
		"none of its kinds":      {readings: []sensors.Reading{}, want: "gives none of the readings"},
	} {
		n := &probe{name: "bmc", secrets: newStore(nil, time.Minute, nil, slog.New(slog.DiscardHandler)), from: sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) { return x.readings, x.err })}
		if !n.waiting() {
			t.Errorf("%s: it does not wait for its first read", what)
		}
		_, _ = n.Read(t.Context(), "n")
		s := n.status()
		if n.waiting() || s.Answering || !utf8.ValidString(s.Message) || !strings.Contains(s.Message, x.want) || len(s.Message) > 520 {
			t.Errorf("%s: waiting %v, status %+v, want %q", what, n.waiting(), s, x.want)
		}
	}
}
