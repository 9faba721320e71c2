package controllers_test

import (
	"os"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

func node(name, address string, labels map[string]string) *v1.Node {
	n := &v1.Node{}
	n.Name, n.Labels = name, labels
	if address != "" {
		n.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: address}, {Type: v1.NodeHostName, Address: name}}
	}
	return n
}

func render(url, secret string, n *v1.Node) (string, string, error) {
	p, err := controllers.Render(&v1alpha1.ProfileTemplate{Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{{Type: "redfish", URL: url, SecretName: secret}}}}, n)
	if err != nil {
		return "", "", err
	}
	return p.Spec.Sensors[0].URL, p.Spec.Sensors[0].SecretName, nil
}

// What WAO's documentation and ours promise.
func TestRender(t *testing.T) {
	n := node("worker-7", "10.0.0.1", map[string]string{"rack": "R7", "example.com/bmc": "bmc-9"})
	for template, want := range map[string]string{
		"https://10.0.100.{{.IPv4.Octet4}}":                            "https://10.0.100.1",
		"https://{{.IPv4.Address}}:8443":                               "https://10.0.0.1:8443",
		"https://{{.Name}}.bmc":                                        "https://worker-7.bmc",
		"https://{{.Hostname | trimPrefix \"worker-\"}}.bmc":           "https://7.bmc",
		"https://{{index .Labels \"example.com/bmc\"}}/":               "https://bmc-9/",
		"https://{{lower .Labels.rack}}-{{add .IPv4.Octet4 100}}.bmc":  "https://r7-101.bmc",
		"https://{{printf \"%03d\" .IPv4.Octet4}}.bmc":                 "https://001.bmc",
		"https://{{regexReplaceAll \"[a-z]+-\" .Name \"bmc\"}}.local":  "https://bmc7.local",
		"https://{{if eq .Labels.rack \"R7\"}}a{{else}}b{{end}}.local": "https://a.local",
		"https://plain": "https://plain",
	} {
		if got, _, err := render(template, "", n); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", template, got, err, want)
		}
	}
}

// One template serves nodes with addresses of either kind.
func TestRenderIPv6(t *testing.T) {
	for template, want := range map[string]string{"http://{{.Address}}:28282/metrics": "http://[fd00::7]:28282/metrics", "http://[{{.Address}}]/": "http://[fd00::7]/", "https://{{.Name}}": "https://worker-7"} {
		if got, _, err := render(template, "", node("worker-7", "fd00::7", nil)); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", template, got, err, want)
		}
	}
}

// A template cannot read the environment, files, the network or the clock; it cannot loop, nor make what is large.
func TestRenderRefuses(t *testing.T) {
	t.Setenv("LEASTWATT_TEST_SECRET", "hunter2")
	if err := os.WriteFile(t.TempDir()+"/f", []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := node("n1", "10.0.0.1", nil)
	double := strings.Repeat(`{{$x = print $x $x}}`, 60)
	lists := strings.Repeat(`{{$x = list $x $x}}`, 60)
	for _, template := range []string{
		`{{env "LEASTWATT_TEST_SECRET"}}`, `{{expandenv "$LEASTWATT_TEST_SECRET"}}`, `{{getHostByName "localhost"}}`, `{{now}}`, `{{ago now}}`,
		`{{randAlphaNum 5}}`, `{{uuidv4}}`, `{{randInt 0 5}}`, `{{genPrivateKey "rsa"}}`, `{{derivePassword 1 "long" "a" "b" "c"}}`, `{{bcrypt "a"}}`,
		`{{readFile "/etc/passwd"}}`, `{{.Files.Get "/etc/passwd"}}`, `{{.Labels.rack}}`, `{{.Nobody}}`, `{{index .Labels "a/b"}}x{{.Labels.b}}`,
		`{{range 1000000000}}{{end}}`, `{{range until 10}}{{end}}`, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `{{block "b" .}}{{end}}`,
		`{{repeat 1000000000 "x"}}`, `{{until 1000000000}}`, `{{untilStep 0 1000000000 1}}`, `{{seq 1 1000000000}}`, `{{indent 1000000000 "x"}}`, `{{nindent 100000 "x"}}`,
		`{{printf "%1000000000d" 1}}`, `{{printf "%.1000000000f" 1.0}}`, `{{printf "%*d" 1000000000 1}}`, `{{repeat 4096 "xx"}}`, `{{"x" | repeat 1000000 | repeat 1000000}}`,
		`{{$x := "aaaaaaaa"}}` + double + `{{$x}}`, `{{$x := list "a"}}` + lists + `{{$x}}`, `{{$x := list "a"}}` + lists,
		`{{seq "1" "1000000000"}}`, `{{fail "x"}}`, strings.Repeat("x", 5000) + `{{.Name}}`, `{{.Name`,
	} {
		begin := time.Now()
		got, _, err := render("https://"+template, "", n)
		if err == nil {
			t.Errorf("%.60s: became %.80q", template, got)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.60s: %v", template, err)
		}
		if d := time.Since(begin); d > 10*time.Second { // a bound on hanging, not a measurement
			t.Errorf("%.60s: %v", template, d)
		}
	}
}

// Whose credentials a node is sent is not for the node to choose: labels and addresses are its own, its name is not.
func TestRenderSecretName(t *testing.T) {
	n := node("n1", "10.0.0.1", map[string]string{"bmc": "n2-credentials"})
	if _, got, err := render("https://bmc", "{{.Name}}-credentials", n); err != nil || got != "n1-credentials" {
		t.Error(got, err)
	}
	if _, got, err := render("https://bmc", "{{.Hostname}}-credentials", n); err != nil || got != "n1-credentials" {
		t.Error(got, err)
	}
	liar := node("n1", "10.0.0.1", n.Labels)
	liar.Status.Addresses[1].Address = "n2"
	for template, n := range map[string]*v1.Node{"{{.Labels.bmc}}": n, "{{.Address}}": n, "{{.IPv4.Octet4}}": n, "{{.Hostname}}-credentials": liar,
		"{{index .Labels \"bmc\"}}": n, "{{.Name}}/../x": n} {
		if _, got, err := render("https://bmc", template, n); err == nil {
			t.Errorf("%s: became %q", template, got)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add(`{{.Name | upper}}`, "10.0.0.1")
	f.Add(`{{printf "%v" .}}`, "::1")
	f.Add(`{{trunc 1 "é"}}`, "::1")
	f.Add(`{{printf "%v" .}}`, strings.Repeat("\xb3", 3000)) // the API server sends no such bytes
	f.Fuzz(func(t *testing.T, text, address string) {
		got, _, err := render(text, "", node("n1", address, map[string]string{"a": "b"}))
		if err == nil && len(got) > len(text)+controllers.MaxRendered {
			t.Errorf("%d bytes", len(got))
		}
	})
}
