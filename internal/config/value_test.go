package config_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/internal/config"
)

type rawFile struct {
	Name string         `yaml:"name" doc:"A name."`
	Any  config.Value   `yaml:"any,optional" doc:"Anything."`
	Own  ownValue       `yaml:"own,optional" doc:"Something."`
	List []config.Value `yaml:"list,optional" doc:"Things."`
}

type ownValue struct{ config.Value }

func (ownValue) Schema() any { return map[string]any{"type": "object"} }

func TestValue(t *testing.T) {
	doc, err := config.Load(config.Source{Name: "f.yaml", Data: []byte(`name: x
any:
  z: [1, "two", {a: 3 GB}]
  a: null
  s: 'a "quoted" text'
list: [one, {b: 1}]
`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var f rawFile
	if err := doc.Decode(&f); err != nil {
		t.Fatal(err)
	}
	if !f.Own.IsZero() || f.Any.IsZero() || len(f.List) != 2 {
		t.Errorf("own %v, any %v, %d items", f.Own.IsZero(), f.Any.IsZero(), len(f.List))
	}
	entries, ok := f.Any.Entries()
	var keys []string
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	if d := cmp.Diff([]string{"z", "a", "s"}, keys); !ok || d != "" {
		t.Errorf("keys in the order of the file:\n%s", d)
	}
	items, ok := entries[0].Value.Items()
	if !ok || len(items) != 3 {
		t.Fatalf("%d items", len(items))
	}
	if text, ok := items[1].Text(); !ok || text != "two" {
		t.Errorf("text %q", text)
	}
	if _, ok := entries[1].Value.Text(); ok {
		t.Error("null is a text")
	}
	if _, ok := items[2].Items(); ok {
		t.Error("a mapping is a list")
	}
	if got := entries[0].Value.Flow(); got != `[1, "two", {a: 3 GB}]` {
		t.Errorf("in one line: %s", got)
	}
	for want, e := range map[string]*config.Error{
		"f.yaml:3:3: any.z: wrong; better; did you mean y": entries[0].Value.KeyError("wrong", "better", "y"),
		"f.yaml:3:6: any.z: wrong":                         entries[0].Value.Error("wrong", "", ""),
		"f.yaml:3:7: any.z[0]: wrong":                      items[0].KeyError("wrong", "", ""),
		"f.yaml:5:10: any.s: wrong":                        entries[2].Value.ErrorAt(3, "wrong", "", ""),
		"f.yaml:6:9: list[0]: wrong":                       f.List[0].ErrorAt(1, "wrong", "", ""),
	} {
		if first, _, _ := strings.Cut(e.Error(), "\n"); first != want {
			t.Errorf("%s\nwant %s", first, want)
		}
	}
	var inner struct {
		B int `yaml:"b" bound:"<1"`
	}
	if err := f.List[1].Decode(&inner); err == nil || !strings.Contains(err.Error(), "list[1].b: 1 is out of bounds") {
		t.Errorf("error %v", err)
	}
	for path, want := range map[string]string{"name": "x", "any.z[2].a": "3 GB", "any.s": `a "quoted" text`} {
		if got, ok := doc.Text(path); !ok || got != want {
			t.Errorf("%s is %q", path, got)
		}
	}
	for _, path := range []string{"any", "any.a", "nothing", "any..z"} {
		if got, ok := doc.Text(path); ok {
			t.Errorf("%s is %q", path, got)
		}
	}
	if schema := string(config.Schema(rawFile{}, "Raw", false)); !strings.Contains(schema, `"allOf"`) {
		t.Errorf("schema %s", schema)
	}
}

func TestApply(t *testing.T) {
	doc, err := config.Load(config.Source{Name: "f.yaml", Data: []byte("name: x\n")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = doc.Apply([]string{"name=y", "nothing", "a..b=1"}, "name=z")
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) != 2 || !strings.Contains(errs[0].Error()+errs[1].Error(), "such as name=z") {
		t.Errorf("error %v", err)
	}
	if got, _ := doc.Text("name"); got != "y" {
		t.Errorf("name is %s", got)
	}
}

func TestKeys(t *testing.T) {
	type inner struct {
		Size config.Figure[int64] `yaml:"size" doc:"How much."`
	}
	type outer struct {
		Inner *inner         `yaml:"inner,optional" doc:"Within."`
		List  []inner        `yaml:"list,optional"`
		Map   map[string]int `yaml:"map,optional"`
	}
	var got []string
	for _, k := range config.Keys(&outer{}) {
		got = append(got, k.Path+" "+k.Type.Kind().String()+" "+k.Doc)
	}
	if d := cmp.Diff([]string{"inner struct Within.", "inner.size int64 How much.", "list slice ", "map map "}, got); d != "" {
		t.Error(d)
	}
	if k := config.Keys(outer{})[1]; k.Type != reflect.TypeFor[int64]() {
		t.Errorf("type %v", k.Type)
	}
}
