package config

import (
	"reflect"

	"github.com/leastwatt/leastwatt/internal/strictyaml"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
	gridconfig "github.com/leastwatt/leastwatt/sensors/grid/config"
)

// Schema returns the JSON schema of the whole file; schema.json is it.
func Schema() map[string]any {
	var kinds []any
	for _, k := range []struct {
		name    string
		section reflect.Type
	}{
		{"piecewise", reflect.TypeFor[piecewiseSection]()}, {"linear", reflect.TypeFor[linearSection]()},
		{"exponential", reflect.TypeFor[exponentialSection]()}, {"published", reflect.TypeFor[publishedSection]()},
		{"prior", reflect.TypeFor[priorSection]()}, {"remote", reflect.TypeFor[remoteSection]()}, {"file", reflect.TypeFor[fileSection]()},
	} {
		s := strictyaml.Schema(k.section)
		fields := s["properties"].(map[string]any)
		fields["kind"] = map[string]any{"const": k.name}
		inlet := fields["inlet"].(map[string]any)
		inlet["anyOf"] = []any{map[string]any{"const": "published"}, strictyaml.Schema(reflect.TypeFor[inletSection]())}
		kinds = append(kinds, s)
	}
	all := strictyaml.Schema(reflect.TypeFor[file]())
	fields := all["properties"].(map[string]any)
	fields["models"].(map[string]any)["items"] = map[string]any{"oneOf": kinds}
	fields["sensors"] = sensorsconfig.Schema()["properties"].(map[string]any)["sensors"]
	fields["objective"] = gridconfig.Schema()
	all["$schema"], all["title"] = "https://json-schema.org/draft/2020-12/schema", "Leastwatt's configuration of a site"
	return all
}
