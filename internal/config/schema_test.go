package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"gopkg.in/yaml.v3"

	"maru/internal/config"
	"maru/internal/goldentest"
)

// validator checks values against the keywords of JSON Schema that Schema uses.
type validator struct{ defs map[string]any }

// newValidator reads a schema.
func newValidator(t testing.TB, schema []byte) (validator, map[string]any) {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	defs, _ := root["$defs"].(map[string]any)
	return validator{defs}, root
}

// check returns an error if the value does not fit the schema.
func (v validator) check(schema map[string]any, value any, path string) error {
	fail := func(keyword string) error { return fmt.Errorf("%s: %v does not fit %s", path, value, keyword) }
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		arg := schema[keyword]
		switch keyword {
		case "$schema", "title", "description", "$defs", "then", "else":
		case "$ref":
			name := strings.TrimPrefix(arg.(string), "#/$defs/")
			def, ok := v.defs[name].(map[string]any)
			if !ok {
				panic("no definition of " + name)
			}
			if err := v.check(def, value, path); err != nil {
				return err
			}
		case "if":
			branch := "else"
			if v.check(arg.(map[string]any), value, path) == nil {
				branch = "then"
			}
			if err := v.check(schema[branch].(map[string]any), value, path); err != nil {
				return err
			}
		case "anyOf":
			var errs []error
			for _, alternative := range arg.([]any) {
				err := v.check(alternative.(map[string]any), value, path)
				if err == nil {
					errs = nil
					break
				}
				errs = append(errs, err)
			}
			if errs != nil {
				return errors.Join(errs...)
			}
		case "type":
			types, ok := arg.([]any)
			if !ok {
				types = []any{arg}
			}
			if !slices.ContainsFunc(types, func(t any) bool { return hasType(value, t.(string)) }) {
				return fail("type")
			}
		case "enum":
			if !slices.Contains(arg.([]any), value) {
				return fail("enum")
			}
		case "pattern":
			if s, ok := value.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(s) {
				return fail("pattern")
			}
		case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
			limit := arg.(float64)
			n, ok := value.(float64)
			if ok && (keyword == "minimum" && n < limit || keyword == "maximum" && n > limit ||
				keyword == "exclusiveMinimum" && n <= limit || keyword == "exclusiveMaximum" && n >= limit) {
				return fail(keyword)
			}
		case "items":
			list, _ := value.([]any)
			for i, item := range list {
				if err := v.check(arg.(map[string]any), item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
					return err
				}
			}
		case "minItems":
			if list, ok := value.([]any); ok && len(list) < int(arg.(float64)) {
				return fail(keyword)
			}
		case "maxItems":
			if list, ok := value.([]any); ok && len(list) > int(arg.(float64)) {
				return fail(keyword)
			}
		case "required":
			object, _ := value.(map[string]any)
			for _, key := range arg.([]any) {
				if _, ok := object[key.(string)]; !ok {
					return fail("required " + key.(string))
				}
			}
		case "propertyNames":
			object, _ := value.(map[string]any)
			for key := range object {
				if err := v.check(arg.(map[string]any), key, path+" key"); err != nil {
					return err
				}
			}
		case "properties":
			object, _ := value.(map[string]any)
			for key, sub := range arg.(map[string]any) {
				if inner, ok := object[key]; ok {
					if err := v.check(sub.(map[string]any), inner, path+"."+key); err != nil {
						return err
					}
				}
			}
		case "additionalProperties":
			object, _ := value.(map[string]any)
			properties, _ := schema["properties"].(map[string]any)
			for key, inner := range object {
				if _, ok := properties[key]; ok {
					continue
				}
				if arg == false {
					return fail("unknown key " + key)
				}
				if err := v.check(arg.(map[string]any), inner, path+"."+key); err != nil {
					return err
				}
			}
		default:
			panic("keyword " + keyword)
		}
	}
	return nil
}

func hasType(value any, name string) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == float64(int64(v))
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	panic(fmt.Sprintf("a value of type %T", value))
}

// asJSON reads YAML as an editor does that checks it against a schema.
func asJSON(t testing.TB, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return normal(v)
}

// normal maps the values of YAML to those of JSON.
func normal(v any) any {
	switch v := v.(type) {
	case nil, bool, string:
		return v
	case int:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
		return v
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
		return v
	case map[any]any:
		m := map[string]any{}
		for k := range v {
			m[fmt.Sprint(k)] = normal(v[k])
		}
		return m
	}
	return fmt.Sprint(v)
}

func TestSchemaGolden(t *testing.T) {
	type part struct {
		Size config.Figure[int] `yaml:"size" bound:">0" doc:"How large."`
		Kind string             `yaml:"kind,optional" enum:"a,b"`
		Rest []*part            `yaml:"rest,optional" doc:"More of the same."`
		Odd  struct {
			X bool `yaml:"x"`
		} `yaml:"odd,optional"`
	}
	got := config.Schema(part{}, "Part", false)
	goldentest.Check(t, "schema.json", string(got))
}

// TestSchemaCases: the schema accepts what Decode accepts and refuses most of what it refuses.
func TestSchemaCases(t *testing.T) {
	v, root := newValidator(t, config.Schema(&machine{}, "Machine", true))
	wider := []string{ // what a schema does not see
		"bounds", "base/missing", "base/cycle", "base/self", "base/remove", "base/syntax-base", "figure/no-sources",
		"syntax/keys", "syntax/tags",
	}
	for _, archive := range []string{"base", "decode", "figure", "syntax"} {
		ar, err := txtar.ParseFile(filepath.Join("testdata", archive+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			name, ok := strings.CutSuffix(f.Name, "/in.yaml")
			if !ok {
				continue
			}
			var any any
			if yaml.Unmarshal(f.Data, &any) != nil {
				continue
			}
			title := archive + "/" + name
			fits := v.check(root, asJSON(t, f.Data), "")
			right := !strings.Contains(run(name, ar), "^")
			if right != (fits == nil) && !slices.ContainsFunc(wider, func(w string) bool { return strings.Contains(title, w) }) {
				t.Errorf("%s: Decode accepts it: %v; the schema: %v", title, right, fits)
			}
		}
	}
}
