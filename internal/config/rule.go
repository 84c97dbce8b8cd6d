package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// structInfo is what the tags of a struct say.
type structInfo struct {
	names  []string // of the keys, in the order of the fields
	fields map[string]field
}

// field is a field that has a key.
type field struct {
	index    []int
	typ      reflect.Type
	optional bool
	doc      string
	rule     rule
}

// rule is what the values at the leaves of a field must fulfil.
type rule struct {
	bounds []bound
	enum   []string
}

// bound is a limit: op is one of > >= < <=, and text a number with or without a unit.
type bound struct{ op, text string }

// String says which numbers are allowed: " that is more than 0", or nothing.
func (r rule) String() string {
	if len(r.bounds) == 0 {
		return ""
	}
	return " that is " + r.limits()
}

// limits says which numbers are allowed: "more than 0".
func (r rule) limits() string {
	words := map[string]string{">": "more than ", ">=": "at least ", "<": "less than ", "<=": "at most "}
	var parts []string
	for _, b := range r.bounds {
		parts = append(parts, words[b.op]+b.text)
	}
	return strings.Join(parts, " and ")
}

// structs caches the information on struct types, by reflect.Type.
var structs sync.Map

// structOf returns what the tags of a struct type say.
func structOf(t reflect.Type) *structInfo {
	if info, ok := structs.Load(t); ok {
		return info.(*structInfo)
	}
	info := &structInfo{fields: map[string]field{}}
	info.add(t, nil)
	actual, _ := structs.LoadOrStore(t, info)
	return actual.(*structInfo)
}

// add reads the tags of a struct's fields.
func (info *structInfo) add(t reflect.Type, index []int) {
	for f := range t.Fields() {
		at := append(slices.Clone(index), f.Index...)
		tag, tagged := f.Tag.Lookup("yaml")
		if f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct {
			info.add(f.Type, at)
			continue
		}
		if !tagged || tag == "-" {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		mistake := func(what string) { panic(fmt.Sprintf("config: field %s of %v: %s", f.Name, t, what)) }
		if !plainKey(name) || option != "" && option != "optional" || !f.IsExported() {
			mistake(fmt.Sprintf("yaml tag %q, or not exported", tag))
		}
		if _, ok := info.fields[name]; ok {
			mistake("a second field with key " + name)
		}
		r := rule{bounds: parseBounds(f.Tag.Get("bound"))}
		if enum := f.Tag.Get("enum"); enum != "" {
			r.enum = strings.Split(enum, ",")
		}
		leaf := leafType(f.Type)
		if len(r.enum) > 0 && leaf.Kind() != reflect.String {
			mistake("enum of a type that is not a string")
		}
		for _, b := range r.bounds {
			if _, err := b.limit(leaf); err != nil {
				mistake(fmt.Sprintf("bound %q: %v", b.text, err))
			}
		}
		info.names = append(info.names, name)
		info.fields[name] = field{index: at, typ: f.Type, optional: option == "optional", doc: f.Tag.Get("doc"), rule: r}
	}
}

// leafType returns the type of the values to which the rule of a field applies.
func leafType(t reflect.Type) reflect.Type {
	for {
		switch {
		case isFigureType(t):
			t = valueType(t)
		case isText(t):
			return t
		case t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map:
			t = t.Elem()
		default:
			return t
		}
	}
}

// parseBounds reads a bound tag.
func parseBounds(tag string) []bound {
	var bounds []bound
	for part := range strings.SplitSeq(tag, ",") {
		part = strings.TrimSpace(part)
		if low, high, ok := strings.Cut(part, ".."); ok {
			bounds = append(bounds, bound{">=", strings.TrimSpace(low)}, bound{"<=", strings.TrimSpace(high)})
			continue
		}
		number := strings.TrimLeft(part, "<>=")
		if part != "" {
			bounds = append(bounds, bound{part[:len(part)-len(number)], strings.TrimSpace(number)})
		}
	}
	return bounds
}

// limit returns the limit for values of a type, in the base unit.
func (b bound) limit(t reflect.Type) (float64, error) {
	if !slices.Contains([]string{">", ">=", "<", "<="}, b.op) {
		return 0, fmt.Errorf("unknown operator %q", b.op)
	}
	v := reflect.New(t)
	if _, ok := magnitude(v.Elem()); !ok {
		return 0, fmt.Errorf("%v is not a number", t)
	}
	if limit, err := strconv.ParseFloat(b.text, 64); err == nil {
		return limit, nil
	}
	u, ok := v.Interface().(encoding.TextUnmarshaler)
	if !ok {
		return 0, fmt.Errorf("not a number")
	}
	err := u.UnmarshalText([]byte(b.text))
	limit, _ := magnitude(v.Elem())
	return limit, err
}

// checkRule checks a value at a leaf.
func (d *decoder) checkRule(n *node, p place, v reflect.Value, r rule) bool {
	if len(r.enum) > 0 && !slices.Contains(r.enum, v.String()) {
		d.fail(n.mark, p, fmt.Sprintf("unknown value %q", cut(n.text)), allowed(v.Type(), r), Suggest(n.text, r.enum))
		return false
	}
	for _, b := range r.bounds {
		limit, _ := b.limit(v.Type()) // the tag was checked before
		value, _ := magnitude(v)
		if b.op == ">" && !(value > limit) || b.op == ">=" && !(value >= limit) || b.op == "<" && !(value < limit) || b.op == "<=" && !(value <= limit) {
			d.fail(n.mark, p, cut(n.text)+" is out of bounds", "allowed: "+r.limits(), "")
			return false
		}
	}
	return true
}
