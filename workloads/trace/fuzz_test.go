package trace

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// FuzzParse: any file is refused with errors that have positions, or is a valid
// trace that is written and read again without change.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../examples/*.trace")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(sound)
	for _, edit := range [][2]string{
		{"row=128*x", "row=(3*x-2*y+5)/7,min=-3,max=9"},
		{"load from 256x256", "load from 256x256 sync random share=1 op=0"},
		{"store to 256x256", "store to 256x256 atomic"},
		{"grid=2,2", "grid=2,2,3,4 swizzle=2 reverse"},
		{"matmul 128x128x64 bf16", "matmul 128x128x64 fp4 count=9223372036854775807 fromreg"},
		{"tensor 0 x", `tensor 0 "a \"b\" \\ é # ="`},
		{"loop 4", "loop 16777216"},
		{"grid=1", "grid=67108864"},
		{"maru-trace 1", "maru-trace 9"},
		{"launch 1", "launch 0"},
		{"free=2", "free=2,2,2"},
	} {
		f.Add(strings.Replace(sound, edit[0], edit[1], 1))
	}
	f.Fuzz(func(t *testing.T, in string) {
		tr, err := Parse("fuzz", strings.NewReader(in))
		if err != nil {
			var list Errors
			if !errors.As(err, &list) || len(list) == 0 || len(list) > maxErrors {
				t.Fatalf("error %T: %v", err, err)
			}
			lines := strings.Count(in, "\n") + 1
			for _, e := range list {
				if e.Line < 1 || e.Line > lines || e.Col < 1 || e.Col > len(e.Source)+1 || e.Problem == "" {
					t.Fatalf("error without a sound position: %+v", *e)
				}
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
				t.Fatalf("control characters in %q", err.Error())
			}
			return
		}
		if err := tr.Validate(); err != nil {
			t.Fatalf("parsed, but not valid: %v", err)
		}
		first := text(t, tr)
		again, err := Parse("again", strings.NewReader(first))
		if err != nil {
			t.Fatalf("%v\nin\n%s", err, first)
		}
		if !reflect.DeepEqual(tr, again) {
			t.Fatalf("read back differently:\n%s\nand\n%s", first, text(t, again))
		}
		if second := text(t, again); second != first {
			t.Fatalf("not canonical:\n%s\nand\n%s", first, second)
		}
	})
}

// TestValidateAnything: however a valid trace is bent, Validate neither panics
// nor hangs, and what it accepts can be written and read again.
func TestValidateAnything(t *testing.T) {
	gen := genTrace()
	rapid.Check(t, func(rt *rapid.T) {
		tr := gen.Draw(rt, "trace")
		for range rapid.IntRange(1, 3).Draw(rt, "edits") {
			fields := leaves(reflect.ValueOf(tr).Elem(), nil)
			bend(rt, rapid.SampledFrom(fields).Draw(rt, "field"))
		}
		Hash(tr)
		if tr.Validate() != nil {
			return
		}
		var b strings.Builder
		if err := Write(&b, tr); err != nil {
			rt.Fatal(err)
		}
		got, err := Parse("bent", strings.NewReader(b.String()))
		if err != nil {
			rt.Fatal(err)
		}
		if Hash(got) != Hash(tr) {
			rt.Fatal("read back differently")
		}
		for i := range got.Tensors {
			got.Family(i)
		}
	})
}

// leaves appends all single values and lists in v.
func leaves(v reflect.Value, to []reflect.Value) []reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		to = append(to, v)
		if !v.IsNil() {
			to = leaves(v.Elem(), to)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			to = leaves(v.Field(i), to)
		}
	case reflect.Slice:
		to = append(to, v)
		for i := range v.Len() {
			to = leaves(v.Index(i), to)
		}
	case reflect.Array:
		for i := range v.Len() {
			to = leaves(v.Index(i), to)
		}
	default:
		to = append(to, v)
	}
	return to
}

// bend sets a value to something unusual.
func bend(rt *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		n := rapid.SampledFrom([]int64{math.MinInt64, math.MinInt32, -MaxSize, -2, -1, 0, 1, 2, 7, MaxTiles, MaxTiles + 1,
			math.MaxInt32, MaxSize, MaxSize + 1, MaxValue, MaxValue + 1, MaxWork, math.MaxInt64}).Draw(rt, "number")
		v.SetInt(n) // keeps the low bits of what does not fit
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Uint8().Draw(rt, "byte")))
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"", "a", "layer", "layer.0.x", "layer.*.x", "\n", "\xff", "end", strings.Repeat("n", MaxName+1)}).Draw(rt, "text"))
	case reflect.Pointer, reflect.Slice:
		v.SetZero()
	}
}
