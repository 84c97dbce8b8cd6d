package config_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/internal/config"
)

// text draws YAML of a value of a kind.
type text func(t *rapid.T) string

func number(low, high int, units ...string) text {
	return func(t *rapid.T) string {
		n := strconv.Itoa(rapid.IntRange(low, high).Draw(t, "number"))
		if u := rapid.SampledFrom(units).Draw(t, "unit"); u != "" {
			return n + rapid.SampledFrom([]string{" ", ""}).Draw(t, "space") + u
		}
		return n
	}
}

func oneOf(words ...string) text {
	return func(t *rapid.T) string { return rapid.SampledFrom(words).Draw(t, "word") }
}

func words(t *rapid.T) string {
	if rapid.Bool().Draw(t, "plain") {
		return rapid.SampledFrom([]string{"a", "x y", "7", "true", "1e3", "'null'", "a-b_c", "2026-01-02"}).Draw(t, "word")
	}
	return strconv.Quote(rapid.String().Draw(t, "text"))
}

// figureOf draws a figure in one of its forms. Ranges are those of numbers, from low to high.
func figureOf(value text, ranged bool, low, high string) text {
	return func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "plain figure") {
			return value(t)
		}
		parts := []string{"value: " + value(t)}
		if ranged && rapid.Bool().Draw(t, "range") {
			parts = append(parts, "range: ["+low+", "+high+"]")
		}
		if rapid.Bool().Draw(t, "source") {
			parts = append(parts, "source: "+rapid.SampledFrom([]string{"ds", "paper", "free text", `"https://x.example"`, `"--set"`}).Draw(t, "source"))
		}
		if rapid.Bool().Draw(t, "calibrated") {
			parts = append(parts, "calibrated: "+words(t))
		}
		return "{" + strings.Join(rapid.Permutation(parts).Draw(t, "order"), ", ") + "}"
	}
}

func listOf(value text, low, high int) text {
	return func(t *rapid.T) string {
		var items []string
		for range rapid.IntRange(low, high).Draw(t, "items") {
			items = append(items, value(t))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
}

func mapOf(keys []string, value text) text {
	return func(t *rapid.T) string {
		var items []string
		for _, k := range rapid.Permutation(keys).Draw(t, "keys")[:rapid.IntRange(0, len(keys)).Draw(t, "size")] {
			items = append(items, k+": "+value(t))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
}

func structOf(fields ...any) text {
	return func(t *rapid.T) string {
		var items []string
		for i := 0; i < len(fields); i += 2 {
			if name, optional := strings.CutSuffix(fields[i].(string), "?"); !optional || rapid.Bool().Draw(t, name) {
				items = append(items, name+": "+fields[i+1].(text)(t))
			}
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
}

var (
	bandwidth = figureOf(number(1, 999, "GB/s", "TB/s", "GiB/s", "Gb/s"), true, "1 B/s", "1 PB/s")
	fields    = []struct {
		name  string
		value text
	}{
		{"name", words}, {"cores", number(1, 1000, "")}, {"clock", figureOf(number(1, 9, "MHz", "GHz"), true, "1 MHz", "10 GHz")},
		{"vendor", words}, {"kind", oneOf("gpu", "tpu", `"npu"`)},
		{"share", figureOf(number(1, 99, "%"), true, "0.001", "100 %")},
		{"latency", figureOf(number(0, 999, "ps", "ns", "us"), true, "0 ps", "1 s")},
		{"depth", figureOf(number(1, 8, ""), true, "1", "8")},
		{"scale", oneOf("1", "-2.5", "1e-3", "0", "+.5")}, {"half", oneOf("1", "0.1")}, {"small", number(0, 255, "")},
		{"ecc", oneOf("true", "false")}, {"default", oneOf("fp8", "int4")},
		{"rates", mapOf([]string{"fp8", "fp16", "int8"}, figureOf(number(1, 9999, "FLOP/clk", "MAC/clk"), true, "1 op/clk", "100000 op/clk"))},
		{"memory", mapOf([]string{"dram", `"a.b"`, `"ü [x]"`, "null"}, structOf("size", figureOf(number(1, 999, "kB", "MiB", "GB"), true, "1 B", "1 TiB"), "bandwidth", text(bandwidth)))},
		{"links", listOf(structOf("to", text(words), "speed", text(bandwidth)), 0, 3)},
		{"torus", listOf(number(1, 9, ""), 3, 3)},
		{"power", structOf("limit", figureOf(number(1, 900, "W"), true, "1 mW", "1 kW"), "idle?", number(1, 90, "W"))},
		{"modes", listOf(oneOf("fast", "slow"), 0, 3)},
		{"steps", figureOf(listOf(number(1, 9, "GHz"), 0, 3), false, "", "")},
		{"curve", figureOf(mapOf([]string{"fp8", "fp16"}, number(0, 9, "pJ", "fJ")), false, "", "")},
		{"label", figureOf(words, false, "", "")},
	}
)

// drawFile draws the text of a file; a base has some of the keys, and the file over it the others, or other values.
func drawFile(t *rapid.T) (file, base string) {
	var lines, under []string
	for i, f := range fields {
		where := rapid.IntRange(0, 3).Draw(t, "where "+f.name)
		if i < 3 && where == 0 { // the first three are required
			where = 1
		}
		if where&1 != 0 {
			lines = append(lines, f.name+": "+f.value(t))
		}
		if where&2 != 0 {
			under = append(under, f.name+": "+f.value(t))
		}
	}
	sources := []string{"sources: {ds: The data sheet., paper: \"A: paper\"}", "sources: {ds: Another data sheet., paper: \"A: paper\"}"}
	lines = append(lines, sources[0])
	under = append(under, sources[rapid.IntRange(0, 1).Draw(t, "sources")])
	lines = rapid.Permutation(lines).Draw(t, "lines")
	if rapid.Bool().Draw(t, "has a base") {
		lines = append(lines, "base: base")
	} else {
		lines = append(lines, missingIn(lines, under)...)
	}
	return strings.Join(lines, "\n"), strings.Join(under, "\n")
}

// missingIn returns the lines of under whose keys are not in lines.
func missingIn(lines, under []string) []string {
	var missing []string
	for _, u := range under {
		key, _, _ := strings.Cut(u, ":")
		found := false
		for _, l := range lines {
			found = found || strings.HasPrefix(l, key+":")
		}
		if !found {
			missing = append(missing, u)
		}
	}
	return missing
}

// TestReload: the printed document loads again to an equal struct, prints the same, and fits the schema, after
// inheritance and overrides.
func TestReload(t *testing.T) {
	v, root := newValidator(t, config.Schema(machine{}, "Machine", true))
	rapid.Check(t, func(rt *rapid.T) {
		file, under := drawFile(rt)
		doc, err := config.Load(config.Source{Name: "file", Data: []byte(file)}, func(string) (config.Source, error) {
			return config.Source{Name: "base", Data: []byte(under)}, nil
		})
		if err != nil {
			rt.Fatalf("%s\n%v", file, err)
		}
		for _, f := range fields {
			if rapid.IntRange(0, 9).Draw(rt, "set") == 0 {
				value := strings.ReplaceAll(f.value(rt), "\n", " ")
				if err := doc.Set(f.name, value); err != nil {
					rt.Fatal(err)
				}
			}
		}
		var first, second machine
		if err := doc.Decode(&first); err != nil {
			rt.Fatalf("%s\n%v", file, err)
		}
		printed := doc.YAML()
		again, err := config.Load(config.Source{Name: "again", Data: printed}, nil)
		if err != nil {
			rt.Fatalf("%s\n%v", printed, err)
		}
		if err := again.Decode(&second); err != nil {
			rt.Fatalf("%s\n%v", printed, err)
		}
		if diff := cmp.Diff(first, second, ignorePos); diff != "" {
			rt.Fatalf("before -, after +:\n%s\n%s\n%s", diff, file, printed)
		}
		if reprinted := string(again.YAML()); reprinted != string(printed) {
			rt.Fatalf("printed\n%s\nand then\n%s", printed, reprinted)
		}
		if err := v.check(root, asJSON(t, printed), ""); err != nil {
			rt.Fatalf("%v\n%s", err, printed)
		}
	})
}

// TestSetFigures: every figure can be set to what it is and to the ends of its range, by its path.
func TestSetFigures(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		file, under := drawFile(rt)
		doc, err := config.Load(config.Source{Name: "file", Data: []byte(file)}, func(string) (config.Source, error) {
			return config.Source{Name: "base", Data: []byte(under)}, nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		var before, after machine
		if err := doc.Decode(&before); err != nil {
			rt.Fatal(err)
		}
		figures := config.Figures(before)
		for i, f := range figures {
			if f.Estimate {
				figures[i].Value = rapid.SampledFrom([]string{f.Low, f.Value, f.High}).Draw(rt, "end")
			}
			if err := doc.Set(f.Path, figures[i].Value); err != nil {
				rt.Fatal(err)
			}
		}
		if err := doc.Decode(&after); err != nil {
			rt.Fatal(err)
		}
		got := config.Figures(&after)
		if len(got) != len(figures) {
			rt.Fatalf("%d figures, then %d", len(figures), len(got))
		}
		for i, f := range got {
			want := config.NamedFigure{Path: figures[i].Path, Value: figures[i].Value, Source: "--set", Pos: f.Pos}
			if diff := cmp.Diff(want, f); diff != "" {
				rt.Fatalf("want -, got +:\n%s", diff)
			}
		}
	})
}

// FuzzDecode: no input panics, and what decodes prints and decodes to the same again.
func FuzzDecode(f *testing.F) {
	f.Add("base: x\nname: a\ncores: 1\nclock: 1 GHz", "cores: 2\nlabel: {value: a, source: b}", "clock", "{value: 2 GHz, range: [1 GHz, 3 GHz]}")
	f.Add("name: &a [*a]\ncores: {? a}", "sources: {a: b}\nclock: {value: 1 GHz, source: a}", `memory."a.b".size`, "null")
	f.Add("<<: {a: b}\n? [a]\n: |\n  x", "links: [{to: x, speed: 1 GB/s}]", "links[0].to", "\"\\u2028\"")
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if strings.HasSuffix(file.Name, ".yaml") {
				f.Add(string(file.Data), string(ar.Files[0].Data), "links[0]", "{to: x}")
			}
		}
	}
	f.Fuzz(func(t *testing.T, file, base, path, value string) {
		doc, err := config.Load(config.Source{Name: "file", Data: []byte(file)}, func(name string) (config.Source, error) {
			return config.Source{Name: "base of " + name, Data: []byte(base)}, nil
		})
		if err != nil {
			_ = err.Error()
			return
		}
		if err := doc.Set(path, value); err != nil {
			_ = err.Error()
		}
		var first, second machine
		if err := doc.Decode(&first); err != nil {
			_ = err.Error()
		}
		printed := doc.YAML()
		again, err := config.Load(config.Source{Name: "again", Data: printed}, nil)
		if err != nil {
			if len(printed) < 1<<20 && len(printed) > 0 {
				t.Fatalf("%q\n%v", printed, err)
			}
			return
		}
		errFirst, errSecond := doc.Decode(&first), again.Decode(&second)
		if (errFirst == nil) != (errSecond == nil) {
			t.Fatalf("%q\nfirst %v\nthen %v", printed, errFirst, errSecond)
		}
		if errFirst == nil {
			if diff := cmp.Diff(first, second, ignorePos); diff != "" {
				t.Fatal(diff)
			}
			config.Figures(&first)
		}
	})
}

// FuzzSet: no path or value panics, and a path that was set leads to a value.
func FuzzSet(f *testing.F) {
	for _, path := range []string{"name", "memory.dram.size", `a."b.c"[0]`, "links[1].to", "x[", `"\u00e9"`, "clock.value", "clock.range"} {
		f.Add(path, "3 GB")
	}
	f.Add("clock", "[a, {b: c}]")
	f.Fuzz(func(t *testing.T, path, value string) {
		doc := load(t, "name: a\nclock: {value: 1 GHz}\nlinks: [a, {to: b}]\n")
		before := string(doc.YAML())
		if err := doc.Set(path, value); err != nil {
			_ = err.Error()
			if after := string(doc.YAML()); after != before {
				t.Fatalf("%v, but the document changed:\n%s", err, after)
			}
			return
		}
		if removed := len(doc.YAML()) < len(before); !removed && !doc.Has(path) {
			t.Fatalf("nothing at %q", path)
		}
	})
}

// ExampleDoc shows a file with its base, an override, and what comes out.
func ExampleDoc() {
	type chip struct {
		Name      string                           `yaml:"name" doc:"The name that people use."`
		Bandwidth config.Figure[unit.Bandwidth]    `yaml:"bandwidth" bound:">0" doc:"Peak of the memory."`
		Latency   config.Figure[unit.Duration]     `yaml:"latency" bound:">=0" doc:"Of a load that misses all caches."`
		Peaks     map[dtype.Type]unit.FlopRate     `yaml:"peaks" bound:">0" doc:"Dense peaks."`
		Modes     map[string]config.Figure[string] `yaml:"modes,optional"`
	}
	files := map[string]string{
		"big": "base: small\nname: Big\nbandwidth: 4 TB/s\npeaks: {fp8: 2 PFLOP/s}\n",
		"small": `
name: Small
bandwidth: {value: 2 TB/s, source: sheet}
latency: {value: 600 ns, range: [500 ns, 700 ns], source: sheet}
peaks: {bf16: 500 TFLOP/s}
sources: {sheet: "The data sheet, page 3."}
`}
	find := func(name string) (config.Source, error) {
		return config.Source{Name: name + ".yaml", Data: []byte(files[name])}, nil
	}
	big, _ := find("big")
	doc, err := config.Load(big, find)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := doc.Set("peaks.fp8", "2.5 PFLOP/s"); err != nil {
		fmt.Println(err)
	}
	var c chip
	if err := doc.Decode(&c); err != nil {
		fmt.Println(err)
	}
	fmt.Println(c.Name, c.Bandwidth, c.Latency, c.Peaks)
	for _, f := range config.Figures(&c) {
		if f.Estimate {
			fmt.Println(f.Path, "is an estimate:", f.Source)
		}
	}
	if err := doc.Set("peaks.fb8", "3 TFLOPs"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(doc.Decode(&c))
	// Output:
	// Big 4 TB/s 600 ns (500 ns to 700 ns) map[bf16:500 TFLOP/s fp8:2.5 PFLOP/s]
	// latency is an estimate: The data sheet, page 3.
	// --set peaks.fb8=3 TFLOPs: unknown number format "fb8"; allowed: one of fp64, fp32, tf32, bf16, fp16, fp8, fp6, fp4, int32, int16, int8, int4, bool; did you mean fp8
	//   peaks.fb8=3 TFLOPs
	//         ^
}
