package study

import (
	"reflect"

	"maru/internal/config"
)

// settings, axes and derivations are the sections whose keys are paths.
type (
	settings    struct{ config.Value }
	axes        struct{ config.Value }
	derivations struct{ config.Value }
)

// Schema returns the JSON Schema of study files. Editors complete every path of
// chips, models and plans from it.
func Schema() []byte { return config.Schema(file{}, "Maru study", false) }

// Schema is the schema of a section that gives paths a value.
func (settings) Schema() any { return section(func(k *key) map[string]any { return k.schema() }) }

// Schema is the schema of a section that gives paths several values.
func (axes) Schema() any {
	return section(func(k *key) map[string]any {
		one := k.schema()
		forms := []any{map[string]any{"type": "array", "items": one, "minItems": 1}}
		if isNumber(k.typ) {
			forms = append(forms, map[string]any{
				"type": "object", "required": []string{"from", "to"}, "additionalProperties": false,
				"properties": map[string]any{
					"from":  map[string]any{"description": "First value.", "type": []string{"string", "number"}},
					"to":    map[string]any{"description": "Last value.", "type": []string{"string", "number"}},
					"steps": map[string]any{"description": "Number of values with both ends.", "type": "integer", "minimum": 2},
					"scale": map[string]any{"description": "Equal differences, equal ratios, or doubling.", "enum": []string{"linear", "log", "pow2"}},
				},
			})
		}
		return map[string]any{"description": k.doc, "anyOf": forms}
	})
}

// Schema is the schema of a section that gives paths an expression.
func (derivations) Schema() any {
	return section(func(k *key) map[string]any {
		return map[string]any{"description": k.doc, "type": []string{"string", "number"}}
	})
}

// section is the schema of a mapping whose keys are paths.
func section(of func(k *key) map[string]any) map[string]any {
	properties := map[string]any{}
	for i := range keys {
		properties[keys[i].path] = of(&keys[i])
	}
	return map[string]any{
		"type": "object", "properties": properties, "additionalProperties": false,
		"patternProperties": map[string]any{`^op\.[a-z_]+$`: of(&key{path: "op.*", owner: ofOp, doc: "Size of the operator.", typ: reflect.TypeFor[int64]()})},
	}
}

// schema is what a single value of a key looks like.
func (k *key) schema() map[string]any {
	o := map[string]any{"description": k.doc}
	switch {
	case k.words != nil:
		words := make([]any, 0)
		for _, w := range k.words() {
			if k.typ.Kind() == reflect.Bool {
				words = append(words, w == "true")
				continue
			}
			words = append(words, w)
		}
		o["enum"] = words
	case isText(k.typ):
		switch x := reflect.Zero(k.typ).Interface().(type) {
		case interface{ Enum() []string }:
			o["enum"] = x.Enum()
		case interface{ Pattern() string }:
			o["pattern"] = x.Pattern()
			o["type"] = []string{"string", "number"}
		}
	case isWhole(k.typ):
		o["type"] = "integer"
	case k.typ.Kind() == reflect.Bool:
		o["type"] = "boolean"
	case k.typ.Kind() == reflect.Float64:
		o["type"] = "number"
	case k.typ.Kind() == reflect.Map || k.typ.Kind() == reflect.Struct:
		o["type"] = "object"
	case k.typ.Kind() == reflect.Slice:
		o["type"] = "array"
	default:
		o["type"] = []string{"string", "number"}
	}
	return o
}
