package scheduler

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write ARGS.md anew")

// ARGS.md tells of every argument what the struct tells, with its type and default.
func TestArgsAreDocumented(t *testing.T) {
	a, err := DecodeArgs(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := DecodeSpreadArgs(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := DecodeCapArgs(rawArgs(`{"caps":[{"name":"a","watts":1}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c.Caps = nil // there is none by default
	pa, err := DecodePlacementArgs(nil)
	if err != nil {
		t.Fatal(err)
	}
	docs := fieldDocs(t, "args.go", "usage.go", "spread.go", "cap_args.go", "placement.go")
	var b strings.Builder
	b.WriteString("# Arguments of the plugins\n\nMade from the source by `go test ./k8s/scheduler -run TestArgsAreDocumented -update`. Reading is strict: an argument that\n" +
		"does not exist, is given twice, is in another case of letters or makes no sense ends the scheduler with an error that names it.\n")
	table := func(title string, defaults any) {
		fmt.Fprintf(&b, "\n## %s\n| argument | default | meaning |\n|---|---|---|\n", title)
		rows(t, &b, docs, reflect.ValueOf(defaults))
	}
	table(Name, a)
	table(CapName, c)
	table(CapName+": an element of caps", Cap{})
	table(SpreadName, s)
	table(PlacementName, pa)
	want := b.String()
	if *update {
		if err := os.WriteFile("ARGS.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("ARGS.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("ARGS.md is old: run go test ./k8s/scheduler -run TestArgsAreDocumented -update")
	}
}

func rows(t *testing.T, b *strings.Builder, docs map[string]string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			rows(t, b, docs, v.Field(i))
			continue
		}
		name, ok := f.Tag.Lookup("json")
		if !ok {
			if f.IsExported() {
				t.Errorf("%s.%s has no name in JSON", v.Type().Name(), f.Name)
			}
			continue
		}
		doc := docs[v.Type().Name()+"."+f.Name]
		if doc == "" || !strings.Contains(strings.ToLower(doc), "default") && !strings.Contains(doc, "equired") && v.Field(i).Kind() != reflect.Slice && v.Type().Name() != "Cap" {
			t.Errorf("%s.%s: the comment %q does not tell the default", v.Type().Name(), f.Name, doc)
		}
		def, err := json.Marshal(v.Field(i).Interface())
		if err != nil {
			t.Fatal(err)
		}
		text := string(def)
		switch text {
		case `""`, "null", "0":
			if f.Name != "KeepDecisions" {
				text = ""
			}
		}
		if text != "" {
			text = "`" + text + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, text, doc)
	}
}

// fieldDocs returns the comments of the fields of structs, by Struct.Field, on one line each.
func fieldDocs(t *testing.T, files ...string) map[string]string {
	t.Helper()
	docs := make(map[string]string)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, id := range field.Names {
						docs[spec.Name.Name+"."+id.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return docs
}
