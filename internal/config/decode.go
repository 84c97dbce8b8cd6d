package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// decoder fills Go values from nodes.
type decoder struct {
	root *node
	errs Errors
}

// fail reports an error.
func (d *decoder) fail(at mark, p place, problem, allowed, hint string) {
	d.errs.add(at.error(p.path(), problem, allowed, hint))
}

// decode fills v from n. It reports whether v is usable.
func (d *decoder) decode(n *node, p place, v reflect.Value, r rule) bool {
	if len(d.errs) >= maxErrors {
		return false
	}
	t := v.Type()
	if isRaw(t) {
		v.Addr().Interface().(raw).keep(n, p)
		return true
	}
	if n.isNull() && !(n.text == "" && isSection(t)) {
		return d.null(n, p, t, r)
	}
	switch {
	case isFigureType(t):
		return d.figure(n, p, v.Addr().Interface().(figure).parts(), r)
	case t.Kind() == reflect.Pointer:
		target := reflect.New(t.Elem())
		if !v.IsNil() {
			target.Elem().Set(v.Elem())
		}
		ok := d.decode(n, p, target.Elem(), r)
		v.Set(target)
		return ok
	case isText(t):
		return d.text(n, p, v, r)
	}
	switch t.Kind() {
	case reflect.Struct:
		return d.structure(n, p, v)
	case reflect.Map:
		return d.mapOf(n, p, v, r)
	case reflect.Slice, reflect.Array:
		return d.list(n, p, v, r)
	}
	return d.basic(n, p, v, r)
}

// null reports a value that is missing.
func (d *decoder) null(n *node, p place, t reflect.Type, r rule) bool {
	if n.text == "" || p.seg.isIndex {
		d.fail(p.key, p, "no value", allowed(t, r), "")
	} else {
		d.fail(n.mark, p, "null removes a key of the base, and there is none", allowed(t, r), "")
	}
	return false
}

// structure decodes a mapping into a struct.
func (d *decoder) structure(n *node, p place, v reflect.Value) bool {
	info := structOf(v.Type())
	if n.isNull() { // a section in which everything may be missing
		n = &node{kind: mapping, mark: n.mark}
	}
	if n.kind != mapping {
		d.fail(n.mark, p, n.describe(), "allowed: a mapping with "+strings.Join(info.names, ", "), "")
		return false
	}
	ok := true
	found := map[string]bool{} // keys that are there, or probably meant
	for _, e := range n.entries {
		if len(d.errs) >= maxErrors {
			return false
		}
		inner := place{parent: &p, seg: segment{key: e.key}, key: e.mark}
		f, known := info.fields[e.key]
		switch {
		case known:
			found[e.key] = true
			ok = d.decode(e.value, inner, v.FieldByIndex(f.index), f.rule) && ok
		case e.key == sourcesKey && p.parent == nil:
			var texts map[string]string
			ok = d.decode(e.value, inner, reflect.ValueOf(&texts).Elem(), rule{}) && ok
		default:
			hint := Suggest(e.key, info.names)
			found[hint] = true
			d.fail(e.mark, inner, "unknown key", "allowed: "+strings.Join(info.names, ", "), hint)
			ok = false
		}
	}
	for _, name := range info.names {
		f := info.fields[name]
		if f.optional || found[name] {
			continue
		}
		ok = false
		if i := slices.IndexFunc(n.removed, func(e entry) bool { return e.key == name }); i >= 0 {
			d.fail(n.removed[i].mark, place{parent: &p, seg: segment{key: name}}, "a required key cannot be removed", "", "")
			continue
		}
		d.fail(p.key, p, "missing key "+name, describeKey(name, f.doc), "")
	}
	return ok
}

// describeKey says what a key means.
func describeKey(name, doc string) string {
	if doc == "" {
		return ""
	}
	return name + ": " + strings.TrimSuffix(doc, ".")
}

// mapOf decodes a mapping into a map.
func (d *decoder) mapOf(n *node, p place, v reflect.Value, r rule) bool {
	t := v.Type()
	if n.kind != mapping {
		d.fail(n.mark, p, n.describe(), allowed(t, r), "")
		return false
	}
	if t.Key().Kind() != reflect.String && !isText(t.Key()) {
		panic(fmt.Sprintf("config: a map with keys of type %v", t.Key()))
	}
	m := reflect.MakeMapWithSize(t, len(n.entries))
	ok := true
	for _, e := range n.entries {
		inner := place{parent: &p, seg: segment{key: e.key}, key: e.mark}
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if !d.decode(&node{kind: scalar, mark: e.mark, text: e.key, quoted: true}, inner, key, rule{}) {
			ok = false
			continue
		}
		if m.MapIndex(key).IsValid() {
			d.fail(e.mark, inner, "duplicate key", "it means the same as another one", "")
			ok = false
			continue
		}
		ok = d.decode(e.value, inner, value, r) && ok
		m.SetMapIndex(key, value)
	}
	v.Set(m)
	return ok
}

// list decodes a sequence into a slice or an array.
func (d *decoder) list(n *node, p place, v reflect.Value, r rule) bool {
	t := v.Type()
	if n.kind != sequence {
		d.fail(n.mark, p, n.describe(), allowed(t, r), "")
		return false
	}
	if t.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(t, len(n.items), len(n.items)))
	} else if len(n.items) != t.Len() {
		d.fail(n.mark, p, fmt.Sprintf("a list of %d", len(n.items)), allowed(t, r), "")
		return false
	}
	ok := true
	for i, item := range n.items {
		inner := place{parent: &p, seg: segment{isIndex: true, index: i}, key: item.mark}
		ok = d.decode(item, inner, v.Index(i), r) && ok
	}
	return ok
}

// text decodes a scalar by its UnmarshalText.
func (d *decoder) text(n *node, p place, v reflect.Value, r rule) bool {
	if n.kind != scalar {
		d.fail(n.mark, p, n.describe(), allowed(v.Type(), r), "")
		return false
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)); err != nil {
		problem, allowed, hint := partsOf(err)
		d.fail(n.mark, p, problem, allowed, hint)
		return false
	}
	return d.checkRule(n, p, v, r)
}

var (
	wholeNumber = regexp.MustCompile(`^[+-]?(0|[1-9][0-9]*)$`)
	number      = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
)

// basic decodes a scalar into a string, a boolean or a number.
func (d *decoder) basic(n *node, p place, v reflect.Value, r rule) bool {
	t := v.Type()
	fail := func(problem, hint string) bool {
		d.fail(n.mark, p, problem, allowed(t, r), hint)
		return false
	}
	if n.kind != scalar {
		return fail(n.describe(), "")
	}
	given := strconv.Quote(cut(n.text))
	var err error
	switch t.Kind() {
	case reflect.String:
		v.SetString(n.text)
	case reflect.Bool:
		if n.quoted || n.text != "true" && n.text != "false" {
			return fail(given+" is not true or false", truth(n.text))
		}
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n.quoted || !wholeNumber.MatchString(n.text) {
			return fail(given+" is not a whole number", "")
		}
		var i int64
		if i, err = strconv.ParseInt(n.text, 10, t.Bits()); err == nil {
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n.quoted || !wholeNumber.MatchString(n.text) {
			return fail(given+" is not a whole number", "")
		}
		if strings.HasPrefix(n.text, "-") && strings.Trim(n.text, "-0") != "" {
			return fail(given+" is negative", "")
		}
		var i uint64
		if i, err = strconv.ParseUint(strings.TrimLeft(n.text, "+-"), 10, t.Bits()); err == nil {
			v.SetUint(i)
		}
	case reflect.Float32, reflect.Float64:
		if n.quoted || !number.MatchString(n.text) {
			return fail(given+" is not a number", "")
		}
		var f float64
		if f, err = strconv.ParseFloat(n.text, t.Bits()); err == nil {
			v.SetFloat(f + 0) // no negative zero
		}
	default:
		panic(fmt.Sprintf("config: a field of type %v", t))
	}
	if err != nil {
		return fail(given+" is too large", "")
	}
	return d.checkRule(n, p, v, r)
}

// truth returns the boolean that is probably meant by another word.
func truth(word string) string {
	switch strings.ToLower(word) {
	case "true", "yes", "on", "y", "1":
		return "true"
	case "false", "no", "off", "n", "0":
		return "false"
	}
	return Suggest(word, []string{"true", "false"})
}

// figure decodes a figure in any of its forms.
func (d *decoder) figure(n *node, p place, f figureParts, r rule) bool {
	*f.source, *f.calibrated, *f.estimate = "", "", false
	if structured := n.kind == mapping && n.index("value") < 0 && isMappingType(f.value.Type()); n.kind != mapping || structured {
		ok := d.decode(n, p, f.value, r)
		f.low.Set(f.value)
		f.high.Set(f.value)
		*f.pos = n.mark.pos()
		if n.setFigure = n.isSet(); n.setFigure {
			*f.source = setSource
		}
		return ok
	}
	ok := true
	var rng, source *node
	*f.pos = n.mark.pos()
	for _, e := range n.entries {
		inner := place{parent: &p, seg: segment{key: e.key}, key: e.mark}
		switch e.key {
		case "value":
			*f.pos = e.value.mark.pos()
			ok = d.decode(e.value, p, f.value, r) && ok
		case "range":
			rng = e.value
		case "source":
			source = e.value
			if ok = d.decode(e.value, inner, reflect.ValueOf(f.source).Elem(), rule{}) && ok; ok {
				ok = d.source(e.value, inner, f.source)
			}
		case "calibrated":
			ok = d.decode(e.value, inner, reflect.ValueOf(f.calibrated).Elem(), rule{}) && ok
		default:
			d.fail(e.mark, inner, "unknown key", "allowed: "+strings.Join(figureKeys, ", "), Suggest(e.key, figureKeys))
			ok = false
		}
	}
	value := n.get("value")
	if value == nil {
		at := p.key
		if i := slices.IndexFunc(n.removed, func(e entry) bool { return e.key == "value" }); i >= 0 {
			at = n.removed[i].mark
		}
		d.fail(at, p, "missing key value", allowed(f.value.Type(), r), "")
		return false
	}
	if n.setFigure = value.isSet() && (source == nil || !source.mark.origin.set); n.setFigure {
		*f.source = setSource
	}
	f.low.Set(f.value)
	f.high.Set(f.value)
	if rng != nil {
		*f.estimate = true
		ok = d.rangeOf(rng, place{parent: &p, seg: segment{key: "range"}, key: rng.mark}, f, r, ok) && ok
	}
	return ok
}

// rangeOf decodes the range of an estimate. The value is checked against it if it is usable.
func (d *decoder) rangeOf(n *node, p place, f figureParts, r rule, usable bool) bool {
	const two = "allowed: [low, high]"
	if _, ok := magnitude(f.value); !ok {
		d.fail(n.mark, p, "a range of something that is not a number", "", "")
		return false
	}
	if n.kind != sequence || len(n.items) != 2 {
		problem := n.describe()
		if n.kind == sequence {
			problem = fmt.Sprintf("a list of %d", len(n.items))
		}
		d.fail(n.mark, p, problem, two, "")
		return false
	}
	for i, v := range []reflect.Value{f.low, f.high} {
		inner := place{parent: &p, seg: segment{isIndex: true, index: i}, key: n.items[i].mark}
		usable = d.decode(n.items[i], inner, v, r) && usable
	}
	if !usable {
		return false
	}
	value, _ := magnitude(f.value)
	low, _ := magnitude(f.low)
	high, _ := magnitude(f.high)
	switch {
	case low > high:
		d.fail(n.mark, p, fmt.Sprintf("%v is larger than %v", f.low, f.high), two, "")
	case value < low || value > high:
		d.fail(n.mark, p, fmt.Sprintf("the value %v is not between %v and %v", f.value, f.low, f.high), "", "")
	default:
		return true
	}
	return false
}

var sourceKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// source replaces a key of the sources by its text.
func (d *decoder) source(n *node, p place, source *string) bool {
	if *source == setSource {
		return true
	}
	var names []string
	if sources := d.root.get(sourcesKey); sources != nil && sources.kind == mapping {
		if text := sources.get(*source); text != nil {
			*source = text.text
			return true
		}
		for _, e := range sources.entries {
			names = append(names, e.key)
		}
	}
	if !sourceKey.MatchString(*source) {
		return true
	}
	problem := fmt.Sprintf("unknown source %q", cut(*source))
	allowed := "allowed: a key of sources, or a text of several words"
	if len(names) > 0 {
		allowed = "allowed: " + strings.Join(names, ", ") + " from sources, or a text of several words"
	}
	d.fail(n.mark, p, problem, allowed, Suggest(*source, names))
	return false
}

// describe says what a value is, for a message that something else is expected.
func (n *node) describe() string {
	switch n.kind {
	case sequence:
		return "a list"
	case mapping:
		return "a mapping"
	}
	return fmt.Sprintf("%q is a single value", cut(n.text))
}

// allowed says which values a type takes.
func allowed(t reflect.Type, r rule) string {
	return "allowed: " + expected(t, r)
}

func expected(t reflect.Type, r rule) string {
	switch {
	case isFigureType(t):
		return expected(valueType(t), r)
	case t.Kind() == reflect.Pointer:
		return expected(t.Elem(), r)
	case isText(t):
		switch x := reflect.Zero(t).Interface().(type) {
		case interface{ Units() []string }:
			return "a number" + r.String() + unitList(x.Units())
		case interface{ Enum() []string }:
			return "one of " + strings.Join(x.Enum(), ", ")
		}
		return "a text"
	}
	switch t.Kind() {
	case reflect.Struct:
		return "a mapping with " + strings.Join(structOf(t).names, ", ")
	case reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list, each item " + expected(t.Elem(), r)
	case reflect.Array:
		return fmt.Sprintf("a list of %d, each item %s", t.Len(), expected(t.Elem(), r))
	case reflect.String:
		if len(r.enum) > 0 {
			return "one of " + strings.Join(r.enum, ", ")
		}
		return "a text"
	case reflect.Bool:
		return "true, false"
	case reflect.Float32, reflect.Float64:
		return "a number" + r.String()
	}
	return "a whole number" + r.String()
}

// isText reports whether values of the type are read from a text by their own method.
func isText(t reflect.Type) bool {
	return t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isSection reports whether t is a struct that is written as a mapping, or a pointer to one.
func isSection(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && !isFigureType(t) && !isText(t)
}

// isMappingType reports whether values of the type are written as mappings.
func isMappingType(t reflect.Type) bool {
	return (t.Kind() == reflect.Map || t.Kind() == reflect.Struct) && !isText(t)
}

// valueType returns the type of a figure's value.
func valueType(t reflect.Type) reflect.Type {
	f, _ := t.FieldByName("Value")
	return f.Type
}

// magnitude returns a number as a float64, in the base unit of a quantity.
func magnitude(v reflect.Value) (float64, bool) {
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return math.NaN(), false
}
