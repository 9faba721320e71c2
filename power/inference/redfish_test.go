package inference_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power/inference"
)

const advertised = `{"@odata.type":"#MachineLearningModel.v1_0_0.MachineLearningModel","PowerConsumptionModel":
{"Name":"model1","Url":"http://10.0.0.20:8080/","Type":"V2InferenceProtocol","Version":"v0.1.0"}}`

// bmc serves the resources of a tree.
func bmc(t *testing.T, tree map[string]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "admin" || password != "pw" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, ok := tree[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestDiscover(t *testing.T) {
	systems := `{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`
	want := inference.Advertised{Name: "model1", URL: "http://10.0.0.20:8080", Type: "V2InferenceProtocol", Version: "v0.1.0"}
	admin := inference.Options{Auth: inference.Basic("admin", "pw")}
	for name, c := range map[string]struct {
		system string
		tree   map[string]string
	}{
		"by path": {"", map[string]string{"/redfish/v1/Systems": systems, "/redfish/v1/Systems/1": `{}`,
			"/redfish/v1/Systems/1/MachineLearningModel": advertised}},
		"by link": {"", map[string]string{"/redfish/v1/Systems": systems,
			"/redfish/v1/Systems/1": `{"MachineLearningModel":{"@odata.id":"/redfish/v1/ml"}}`, "/redfish/v1/ml": advertised}},
		"by system": {"Self", map[string]string{"/redfish/v1/Systems/Self": `{}`, "/redfish/v1/Systems/Self/MachineLearningModel": advertised}},
	} {
		got, err := inference.Discover(t.Context(), bmc(t, c.tree), c.system, admin)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	for name, c := range map[string]struct {
		tree map[string]string
		want error
	}{
		"no system": {map[string]string{"/redfish/v1/Systems": `{"Members":[]}`}, inference.ErrNotAdvertised},
		"no model":  {map[string]string{"/redfish/v1/Systems": systems, "/redfish/v1/Systems/1": `{}`}, inference.ErrNotAdvertised},
		"no power":  {map[string]string{"/redfish/v1/Systems": systems, "/redfish/v1/Systems/1": `{}`, "/redfish/v1/Systems/1/MachineLearningModel": `{}`}, inference.ErrNotAdvertised},
		"text":      {map[string]string{"/redfish/v1/Systems": `<html>`}, inference.ErrAnswer},
		"odd URL": {map[string]string{"/redfish/v1/Systems": systems, "/redfish/v1/Systems/1": `{}`,
			"/redfish/v1/Systems/1/MachineLearningModel": strings.Replace(advertised, "http:", "file:", 1)}, inference.ErrAnswer},
	} {
		if got, err := inference.Discover(t.Context(), bmc(t, c.tree), "", admin); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, c.want)
		}
	}
	_, err := inference.Discover(t.Context(), bmc(t, nil), "", inference.Options{Auth: inference.Basic("admin", "wrong")})
	if err == nil || !strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v: want 401 and no password", err)
	}
}
