package result_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"maru/sim/result"
)

// TestDocumented finds every key of the format in docs/result.md, in backquotes
// by itself or as part of a path.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "result.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for i, s := range strings.Split(string(page), "`") {
		if i%2 == 1 {
			for part := range strings.SplitSeq(s, ".") {
				documented[strings.TrimSuffix(part, "[]")] = true
			}
		}
	}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumField() {
			f := typ.Field(i)
			key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key == "" || options != "" && options != "omitzero" && options != "omitempty" {
				t.Errorf("%s.%s: key %q", typ.Name(), f.Name, key)
			}
			if !documented[key] {
				t.Errorf("docs/result.md does not describe %q (%s.%s)", key, typ.Name(), f.Name)
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[result.Result]())
	walk(reflect.TypeFor[result.Machines]())
}
