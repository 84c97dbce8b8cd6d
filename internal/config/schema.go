package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Schema returns a JSON Schema (draft 2020-12) of the files that decode into the struct v, or the struct that v points
// to, from the same tags as Decode. With inherits, files may name a base, and a file that does need not be complete.
//
// The schema is a little wider than Decode: it knows the form of quantities but not their bounds, nor whether a value lies
// in its range.
func Schema(v any, title string, inherits bool) []byte {
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := schemer{defs: map[string]object{}, types: map[string]reflect.Type{}}
	sources := property{sourcesKey, object{{"description", "Where figures are known from: texts by key."},
		{"type", "object"}, {"additionalProperties", anyText}}}
	root := object{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", title}}
	if inherits {
		base := property{"base", append(object{{"description", "The file that this one extends."}}, anyText...)}
		s.defs["file"] = s.structure(t, sources)
		s.partial = true
		s.defs["file.derived"] = s.structure(t, base, sources)
		root = append(root,
			property{"if", object{{"required", []string{"base"}}}},
			property{"then", object{{"$ref", "#/$defs/file.derived"}}},
			property{"else", object{{"$ref", "#/$defs/file"}}})
	} else {
		root = append(root, s.structure(t, sources)...)
	}
	var defs object
	for _, name := range slices.Sorted(maps.Keys(s.defs)) {
		defs = append(defs, property{name, s.defs[name]})
	}
	if len(defs) > 0 {
		root = append(root, property{"$defs", defs})
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		panic(err) // it holds only strings, numbers and lists of them
	}
	return b.Bytes()
}

// object is a JSON object whose keys keep their order.
type object []property

type property struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, p := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encoder.Encode(p.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encoder.Encode(p.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// anyText is the schema of a text, which may look like something else: "name: 405".
var anyText = object{{"type", []string{"string", "number", "boolean"}}}

// schemer builds schemas of types.
type schemer struct {
	defs    map[string]object       // schemas that are referred to by name
	types   map[string]reflect.Type // the types that have the names
	partial bool                    // of a file that has a base: nothing is required, and null removes a key
}

// define returns a reference to the schema of a named type, which is built once.
func (s *schemer) define(t reflect.Type, suffix string, build func() object) object {
	name := t.String() + suffix
	for i := 2; s.types[name] != nil && s.types[name] != t; i++ {
		name = t.String() + strconv.Itoa(i) + suffix
	}
	if s.types[name] == nil {
		s.types[name] = t
		s.defs[name] = build()
	}
	return object{{"$ref", "#/$defs/" + name}}
}

// schema returns the schema of a type whose leaves follow a rule.
func (s *schemer) schema(t reflect.Type, r rule) object {
	switch {
	case isRaw(t):
		return rawSchema(t)
	case isFigureType(t):
		return s.figure(valueType(t), r)
	case t.Kind() == reflect.Pointer:
		return s.schema(t.Elem(), r)
	case isText(t):
		return s.define(t, "", func() object { return textSchema(t) })
	}
	switch t.Kind() {
	case reflect.Struct:
		if t.Name() == "" {
			return s.structure(t)
		}
		suffix := ""
		if s.partial {
			suffix = ".derived"
		}
		return s.define(t, suffix, func() object { return s.structure(t) })
	case reflect.Map:
		o := object{{"type", "object"}}
		if isText(t.Key()) {
			o = append(o, property{"propertyNames", s.schema(t.Key(), rule{})})
		}
		return append(o, property{"additionalProperties", s.removable(s.schema(t.Elem(), r))})
	case reflect.Slice:
		return object{{"type", "array"}, {"items", s.complete(t.Elem(), r)}}
	case reflect.Array:
		return object{{"type", "array"}, {"items", s.complete(t.Elem(), r)}, {"minItems", t.Len()}, {"maxItems", t.Len()}}
	case reflect.String:
		if len(r.enum) > 0 {
			return object{{"enum", r.enum}}
		}
		return anyText
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Float32, reflect.Float64:
		return append(object{{"type", "number"}}, limits(t, r)...)
	}
	return append(object{{"type", "integer"}}, limits(t, r)...)
}

// complete returns the schema of a type for a place where nothing is inherited.
func (s *schemer) complete(t reflect.Type, r rule) object {
	whole := *s
	whole.partial = false
	return whole.schema(t, r)
}

// limits returns the keywords for the bounds of a number.
func limits(t reflect.Type, r rule) object {
	keywords := map[string]string{">": "exclusiveMinimum", ">=": "minimum", "<": "exclusiveMaximum", "<=": "maximum"}
	var o object
	for _, b := range r.bounds {
		if limit, err := b.limit(t); err == nil {
			o = append(o, property{keywords[b.op], limit})
		}
	}
	return o
}

// structure returns the schema of a struct, with more properties in front of its own.
func (s *schemer) structure(t reflect.Type, more ...property) object {
	info := structOf(t)
	properties := object(more)
	required := []string{}
	for _, name := range info.names {
		f := info.fields[name]
		properties = slices.DeleteFunc(properties, func(p property) bool { return p.name == name })
		schema := s.removable(s.schema(f.typ, f.rule))
		if description := describeRule(f); description != "" {
			schema = append(object{{"description", description}}, schema...)
		}
		properties = append(properties, property{name, schema})
		if !f.optional && !s.partial {
			required = append(required, name)
		}
	}
	o := object{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}}
	if len(required) > 0 {
		o = append(o, property{"required", required})
	}
	return o
}

// describeRule returns a field's sentence, and its bounds.
func describeRule(f field) string {
	parts := []string{}
	if f.doc != "" {
		parts = append(parts, f.doc)
	}
	if bounds := f.rule.String(); bounds != "" {
		parts = append(parts, "Allowed is a number"+bounds+".")
	}
	return strings.Join(parts, " ")
}

// removable lets null stand for a value in a file that has a base.
func (s *schemer) removable(o object) object {
	if !s.partial {
		return o
	}
	return object{{"anyOf", []object{o, {{"type", "null"}}}}}
}

// figure returns the schema of a figure in its four forms.
func (s *schemer) figure(t reflect.Type, r rule) object {
	if isText(t) {
		return s.define(t, ".figure", func() object { return s.figureForms(t, r) })
	}
	return s.figureForms(t, r)
}

func (s *schemer) figureForms(t reflect.Type, r rule) object {
	value := s.complete(t, r)
	properties := object{{"value", value}}
	if _, ok := magnitude(reflect.Zero(t)); ok {
		properties = append(properties, property{"range", object{{"description", "The low and high end of an estimate."},
			{"type", "array"}, {"items", value}, {"minItems", 2}, {"maxItems", 2}}})
	}
	properties = append(properties,
		property{"source", append(object{{"description", "A key of sources, or a text."}}, anyText...)},
		property{"calibrated", append(object{{"description", "The microbenchmark that the value was fitted to."}}, anyText...)})
	full := object{{"type", "object"}, {"properties", properties}, {"required", []string{"value"}}, {"additionalProperties", false}}
	return object{{"anyOf", []object{s.schema(t, r), full}}}
}

// textSchema returns the schema of a type that reads itself from a text.
func textSchema(t reflect.Type) object {
	var o object
	zero := reflect.Zero(t).Interface()
	if q, ok := zero.(interface{ Units() []string }); ok {
		o = append(o, property{"description", "A number" + unitList(q.Units()) + "."})
	}
	if e, ok := zero.(interface{ Enum() []string }); ok {
		return append(o, property{"enum", e.Enum()})
	}
	p, ok := zero.(interface{ Pattern() string })
	if !ok {
		return append(o, property{"type", "string"})
	}
	if bare, err := regexp.MatchString(p.Pattern(), "1"); err == nil && bare {
		return append(o, property{"type", []string{"string", "number"}}, property{"pattern", p.Pattern()})
	}
	return append(o, property{"type", "string"}, property{"pattern", p.Pattern()})
}

// unitList joins the units of a number for a message: " in m, km". The unit that is the empty string stands for none.
func unitList(units []string) string {
	named := slices.DeleteFunc(slices.Clone(units), func(u string) bool { return u == "" })
	if len(named) < len(units) {
		return ", plain or in " + strings.Join(named, ", ")
	}
	return " in " + strings.Join(named, ", ")
}
