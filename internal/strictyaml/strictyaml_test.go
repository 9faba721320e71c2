package strictyaml_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/internal/strictyaml"
)

type inner struct {
	Size *int `yaml:"size" doc:"how large"`
}

type file struct {
	inner
	Name  string            `yaml:"name" required:"true"`
	Color string            `yaml:"color" enum:"red,green"`
	Every time.Duration     `yaml:"every"`
	Ratio float64           `yaml:"ratio" min:"-1" max:"1"`
	Steps []float64         `yaml:"steps" min:"0"`
	On    bool              `yaml:"on"`
	List  []inner           `yaml:"list"`
	Words map[string]string `yaml:"words"`
}

func decode(t *testing.T, text string, into any) error {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return strictyaml.Decode("site.yaml", n.Content[0], "", into)
}

func TestDecode(t *testing.T) {
	got := file{Ratio: 0.5}
	if err := decode(t, "name: a\ncolor: red\nevery: 90s\nsize: 3\non: true\nlist: [{size: 1}, {}]\nwords: {a: b}\n", &got); err != nil {
		t.Fatal(err)
	}
	want := file{inner: inner{new(3)}, Name: "a", Color: "red", Every: 90 * time.Second, Ratio: 0.5, On: true,
		List: []inner{{new(1)}, {}}, Words: map[string]string{"a": "b"}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(file{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestErrorsTellFileLineAndField(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\nnmae: b\n":                  "site.yaml:2: nmae: there is no such field",
		"name: a\nname: b\n":                  "site.yaml:2: name: is given twice",
		"color: red\n":                        "site.yaml:1: name: is missing",
		"name: a\ncolor: blue\n":              "site.yaml:2: color: is \"blue\": want red, green",
		"name: a\nevery: 10\n":                "site.yaml:2: every: is \"10\": want a duration",
		"name: a\nevery: -1s\n":               "site.yaml:2: every",
		"name: a\nratio: .nan\n":              "site.yaml:2: ratio",
		"name: a\nratio: '1'\n":               "site.yaml:2: ratio",
		"name: a\nratio: 1.5\n":               "site.yaml:2: ratio: is 1.5: want -1 to 1",
		"name: a\nsteps:\n- 1\n- -1\n":        "site.yaml:4: steps[1]: is -1: want at least 0",
		"name:\n":                             "site.yaml:1: name: is missing",
		"color: &n\nname: *n\n":               "site.yaml:1: name: is missing",
		"words: {b: &k name}\n*k : a\n*k : b": "site.yaml:3: name: is given twice",
		"name: a\non: 1\n":                    "site.yaml:2: on",
		"name: a\nsize: 1.5\n":                "site.yaml:2: size",
		"name: a\nlist:\n- size: 1\n- x: 1":   "site.yaml:4: list[1].x: there is no such field",
		"name: a\nlist:\n- size: 1\n-\n":      "site.yaml:4: list[1]: is empty",
		"name: a\nsteps: [1, ~]\n":            "site.yaml:2: steps[1]: is empty",
		"name: [a]\n":                         "site.yaml:1: name: want one value",
		"name: true\n":                        "site.yaml:1: name",
		"name: a\nwords: [a]\n":               "site.yaml:2: words",
		"name: a\nwords: {a: 1, a: 2}\n":      "site.yaml:2: words.a: is given twice",
		"~\n":                                 "site.yaml:1: name: is missing",
		"- a\n":                               "site.yaml:1: the file: want fields",
	} {
		err := decode(t, text, new(file))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestFieldFollowsAliases(t *testing.T) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("a: &a linear\nb: &b {kind: *a}\nc: *b\n"), &n); err != nil {
		t.Fatal(err)
	}
	if k := strictyaml.Field(strictyaml.Field(n.Content[0], "c"), "kind"); k == nil || k.Value != "linear" {
		t.Errorf("the kind is %+v", k)
	}
}

func TestAliasesCannotGrowWithoutEnd(t *testing.T) {
	type tree struct {
		Next []map[string]*tree `yaml:"next"`
	}
	var b strings.Builder
	b.WriteString("next: &x\n- k: &l00 {}\n")
	for i := range 30 {
		b.WriteString("- k: &l" + itoa(i+1) + " {next: [{a: *l" + itoa(i) + "}, {b: *l" + itoa(i) + "}]}\n")
	}
	if err := decode(t, b.String(), new(tree)); err == nil {
		t.Error("a billion values were read")
	}
}

func itoa(i int) string { return string(rune('0'+i/10)) + string(rune('0'+i%10)) }

func TestSchema(t *testing.T) {
	b, err := json.Marshal(strictyaml.Schema(reflect.TypeFor[file]()))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"additionalProperties":false`, `"required":["name"]`, `"enum":["red","green"]`, `"description":"how large"`,
		`"maximum":1,"minimum":-1,"type":"number"`, `"items":{"minimum":0,"type":"number"}`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the schema lacks %s: %s", want, b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name: a\nlist: [{size: 1}]\n")
	f.Add("a: &x [*x]\n")
	f.Add("color: &n\nname: *n\n")
	f.Fuzz(func(t *testing.T, text string) {
		var n yaml.Node
		if yaml.Unmarshal([]byte(text), &n) != nil || len(n.Content) == 0 {
			return
		}
		if strictyaml.Decode("f", n.Content[0], "", new(file)) != nil {
			return
		}
		if name := strictyaml.Field(n.Content[0], "name"); name == nil || name.Tag == "!!null" {
			t.Errorf("%q lacks a required field and was taken", text)
		}
	})
}
