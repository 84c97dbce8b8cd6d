package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/internal/config"
	"maru/internal/goldentest"
)

// machine has a field of every kind that can be decoded.
type machine struct {
	maker
	Name    string                                    `yaml:"name" doc:"The name that people use."`
	Kind    string                                    `yaml:"kind,optional" enum:"gpu,tpu,npu" doc:"What it is."`
	Cores   int                                       `yaml:"cores" bound:">=1" doc:"Cores on the chip."`
	Clock   config.Figure[unit.Frequency]             `yaml:"clock" bound:"1 MHz..10 GHz" doc:"The highest clock."`
	Share   config.Figure[unit.Ratio]                 `yaml:"share,optional" bound:">0,<=1"`
	Latency config.Figure[unit.Duration]              `yaml:"latency,optional"`
	Depth   config.Figure[int]                        `yaml:"depth,optional" bound:"1..8"`
	Scale   float64                                   `yaml:"scale,optional" bound:"<1e6"`
	Half    float32                                   `yaml:"half,optional"`
	Small   uint8                                     `yaml:"small,optional"`
	ECC     bool                                      `yaml:"ecc,optional"`
	Default dtype.Type                                `yaml:"default,optional"`
	Rates   map[dtype.Type]config.Figure[unit.Rate]   `yaml:"rates,optional" bound:">0"`
	Memory  map[string]memory                         `yaml:"memory,optional"`
	Links   []link                                    `yaml:"links,optional"`
	Torus   [3]int                                    `yaml:"torus,optional" bound:">0"`
	Power   *power                                    `yaml:"power,optional"`
	Modes   []string                                  `yaml:"modes,optional" enum:"fast,slow"`
	Steps   config.Figure[[]unit.Frequency]           `yaml:"steps,optional" bound:">0"`
	Curve   config.Figure[map[dtype.Type]unit.Energy] `yaml:"curve,optional"`
	Label   config.Figure[string]                     `yaml:"label,optional"`
	Note    string                                    // has no key
}

type maker struct {
	Vendor string `yaml:"vendor,optional"`
}

type memory struct {
	Size      config.Figure[unit.Bytes]     `yaml:"size" bound:">0" doc:"The capacity."`
	Bandwidth config.Figure[unit.Bandwidth] `yaml:"bandwidth" bound:">0"`
}

type link struct {
	To    string                        `yaml:"to"`
	Speed config.Figure[unit.Bandwidth] `yaml:"speed"`
}

type power struct {
	Limit config.Figure[unit.Power] `yaml:"limit"`
	Idle  *unit.Power               `yaml:"idle,optional"`
}

// ignorePos compares structs apart from where their figures were written.
var ignorePos = cmp.Options{
	cmp.Transformer("Pos", func(config.Pos) int { return 0 }),
	cmp.AllowUnexported(machine{}),
}

// files resolves bases from an archive.
func files(prefix string, ar *txtar.Archive) func(string) (config.Source, error) {
	return func(name string) (config.Source, error) {
		var names []string
		for _, f := range ar.Files {
			if f.Name == prefix+"/"+name+".yaml" {
				return config.Source{Name: name + ".yaml", Data: f.Data}, nil
			}
			if base, ok := strings.CutPrefix(f.Name, prefix+"/"); ok && strings.HasSuffix(base, ".yaml") {
				names = append(names, strings.TrimSuffix(base, ".yaml"))
			}
		}
		return config.Source{}, notFound{name, config.Suggest(name, names)}
	}
}

// notFound is an error in three parts.
type notFound struct{ name, hint string }

func (e notFound) Error() string { return "no file " + e.name }

func (e notFound) Parts() (problem, allowed, hint string) {
	return "no file " + e.name, "", e.hint
}

// run loads CASE/in.yaml, sets the lines of CASE/set and decodes. It returns the errors, or the document and what is in it.
func run(name string, ar *txtar.Archive) string {
	var in, sets []byte
	for _, f := range ar.Files {
		switch f.Name {
		case name + "/in.yaml":
			in = f.Data
		case name + "/set":
			sets = f.Data
		}
	}
	doc, err := config.Load(config.Source{Name: "in.yaml", Data: in}, files(name, ar))
	if err != nil {
		return err.Error() + "\n"
	}
	var out strings.Builder
	for line := range strings.Lines(string(sets)) {
		path, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if err := doc.Set(path, value); err != nil {
			fmt.Fprintln(&out, err)
		}
	}
	var m machine
	if err := doc.Decode(&m); err != nil {
		return out.String() + err.Error() + "\n"
	}
	out.Write(doc.YAML())
	for _, f := range config.Figures(&m) {
		fmt.Fprintf(&out, "# %s = %s", f.Path, f.Value)
		if f.Estimate {
			fmt.Fprintf(&out, " in %s..%s", f.Low, f.High)
		}
		if f.Source != "" {
			fmt.Fprintf(&out, ", source %q", f.Source)
		}
		if f.Calibrated != "" {
			fmt.Fprintf(&out, ", calibrated %q", f.Calibrated)
		}
		fmt.Fprintf(&out, " (%v)\n", f.Pos)
	}
	return out.String()
}

// TestGolden runs the cases in testdata/*.txtar. A case is a folder in an archive: in.yaml and its bases, set with one
// override per line, and want.
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, path := range archives {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(ar.Files); i++ {
			name, ok := strings.CutSuffix(ar.Files[i].Name, "/want")
			if !ok {
				continue
			}
			got := run(name, ar)
			if *goldentest.Update {
				ar.Files[i].Data = []byte(got)
				continue
			}
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar")+"/"+name, func(t *testing.T) {
				if diff := cmp.Diff(string(ar.Files[i].Data), got); diff != "" {
					t.Errorf("want -, got +:\n%s", diff)
				}
			})
		}
		if *goldentest.Update {
			if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// load loads a text that must be right.
func load(t testing.TB, text string) *config.Doc {
	t.Helper()
	doc, err := config.Load(config.Source{Name: "in.yaml", Data: []byte(text)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDecode(t *testing.T) {
	doc := load(t, `
vendor: Maru
name: M1
kind: npu
cores: 8
clock: {value: 1.5GHz, range: [1.4 GHz, 1.6 GHz], source: ds}
share: 90 %
latency: {value: 390 ns, source: "measured, twice", calibrated: pointer chase}
scale: 1e-3
half: .5
small: 255
ecc: true
default: bf16
rates: {fp16: 4096 FLOP/clk, fp8: {value: 4096 MAC/clk, source: ds}}
memory:
  dram:
    size: 80 GB
    bandwidth: 3.35 TB/s
links:
  - {to: other, speed: 450 GB/s}
torus: [4, 4, 2]
power: {limit: 700 W, idle: 60 W}
modes: [fast, slow]
steps: {value: [1 GHz, 2 GHz], source: ds}
curve: {fp8: 1 pJ}
label: 7
sources:
  ds: The data sheet, table 3.
`)
	got := machine{Note: "kept"}
	if err := doc.Decode(&got); err != nil {
		t.Fatal(err)
	}
	const ds = "The data sheet, table 3."
	idle := unit.Power(60)
	steps := []unit.Frequency{1e9, 2e9}
	curve := map[dtype.Type]unit.Energy{dtype.FP8: 1}
	want := machine{
		maker: maker{"Maru"}, Name: "M1", Kind: "npu", Cores: 8,
		Clock:   config.Figure[unit.Frequency]{Value: 1.5e9, Low: 1.4e9, High: 1.6e9, Source: ds, Estimate: true},
		Share:   config.Figure[unit.Ratio]{Value: 0.9, Low: 0.9, High: 0.9},
		Latency: config.Figure[unit.Duration]{Value: 390e3, Low: 390e3, High: 390e3, Source: "measured, twice", Calibrated: "pointer chase"},
		Scale:   1e-3, Half: 0.5, Small: 255, ECC: true, Default: dtype.BF16,
		Rates: map[dtype.Type]config.Figure[unit.Rate]{
			dtype.FP16: {Value: 4096, Low: 4096, High: 4096},
			dtype.FP8:  {Value: 8192, Low: 8192, High: 8192, Source: ds},
		},
		Memory: map[string]memory{"dram": {
			Size:      config.Figure[unit.Bytes]{Value: 80 * unit.GB, Low: 80 * unit.GB, High: 80 * unit.GB},
			Bandwidth: config.Figure[unit.Bandwidth]{Value: 3.35e12, Low: 3.35e12, High: 3.35e12},
		}},
		Links: []link{{"other", config.Figure[unit.Bandwidth]{Value: 450e9, Low: 450e9, High: 450e9}}},
		Torus: [3]int{4, 4, 2},
		Power: &power{config.Figure[unit.Power]{Value: 700, Low: 700, High: 700}, &idle},
		Modes: []string{"fast", "slow"},
		Steps: config.Figure[[]unit.Frequency]{Value: steps, Low: steps, High: steps, Source: ds},
		Curve: config.Figure[map[dtype.Type]unit.Energy]{Value: curve, Low: curve, High: curve},
		Label: config.Figure[string]{Value: "7", Low: "7", High: "7"},
		Note:  "kept",
	}
	if diff := cmp.Diff(want, got, ignorePos); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if want := (config.Pos{File: "in.yaml", Line: 6, Column: 16}); got.Clock.Pos != want {
		t.Errorf("clock at %v, want %v", got.Clock.Pos, want)
	}
	if s := got.Clock.String(); s != "1.5 GHz (1.4 GHz to 1.6 GHz)" {
		t.Errorf("clock prints as %q", s)
	}
	if s := got.Share.String(); s != "0.9" {
		t.Errorf("share prints as %q", s)
	}
	if !got.Share.IsSet() || got.Depth.IsSet() {
		t.Errorf("IsSet of share %v, of depth %v", got.Share.IsSet(), got.Depth.IsSet())
	}
}

// TestDefaults: what is not in the file keeps its value.
func TestDefaults(t *testing.T) {
	idle := unit.Power(5)
	before := &power{Idle: &idle}
	got := machine{Kind: "gpu", Scale: 2, Power: before}
	if err := load(t, "name: a\ncores: 1\nclock: 1 GHz\nscale: 3\npower: {limit: 9 W}\n").Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Kind != "gpu" || got.Scale != 3 || got.Power.Limit.Value != 9 || *got.Power.Idle != 5 {
		t.Errorf("got %+v, %+v", got, got.Power)
	}
	if before.Limit.IsSet() {
		t.Error("the default itself was changed")
	}
}

// TestText covers text that an archive cannot hold.
func TestText(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "in.yaml:1:1: nothing but white space and comments"},
		{"not UTF-8", "a: 1\nb: \xff", "in.yaml:2:4: byte 0xff is not UTF-8; allowed: UTF-8 text\n  b: \ufffd\n     ^"},
		{"control", "a: \x00", "in.yaml:1:4: control character U+0000; allowed: UTF-8 text\n  a:\n     ^"},
		{"UTF-16", "\xff\xfea\x00", "in.yaml:1:1: byte 0xff is not UTF-8; allowed: UTF-8 text\n  \ufffd\ufffda\n  ^"},
		{"BOM", "\ufeffa: 1\na: 2", "in.yaml:2:1: a: duplicate key; the first is in line 1\n  a: 2\n  ^"},
		{"BOM in the middle", "a: \ufeff", "in.yaml:1:4: control character U+FEFF; allowed: UTF-8 text\n  a: \ufeff\n     ^"},
		{"CRLF", "a: 1\r\nb: 1\r\na: 2\r\n", "in.yaml:3:1: a: duplicate key; the first is in line 1\n  a: 2\n  ^"},
		{"CR", "a: 1\rb: 1\ra: 2\r", "in.yaml:3:1: a: duplicate key; the first is in line 1\n  a: 2\n  ^"},
		{"tab", "a:\n\tb: 1\n", "in.yaml:2:1: not YAML: found character that cannot start any token; YAML is indented with spaces, not tabs\n  \tb: 1\n  ^"},
		{"tab before the caret", "a: {b: 1,\t b: 2}", "in.yaml:1:12: a.b: duplicate key; a key stands once in a mapping\n  a: {b: 1,\t b: 2}\n           \t ^"},
		{"wide characters", "a: {마루: 1, \"é\u0301\": 2, 마루: 2}", "in.yaml:1:21: a.마루: duplicate key; a key stands once in a mapping\n  a: {마루: 1, \"é\u0301\": 2, 마루: 2}\n                       ^"},
		{"long line", "a: {b: 1, " + strings.Repeat("x", 200) + ": 1, b: 2" + strings.Repeat(" ", 100) + ", c: 3}",
			"in.yaml:1:216: a.b: duplicate key; a key stands once in a mapping\n  ..." + strings.Repeat("x", 75) + ": 1, b: 2" + strings.Repeat(" ", 37) + "...\n" +
				strings.Repeat(" ", 2+3+79) + " ^"},
		{"second document", "a: 1\n--- [\n", "in.yaml:2:1: not YAML: did not find expected node content\n  --- [\n  ^"},
		{"key that is an alias", "a: &k b\n*k : 1\nb: 2\n", "in.yaml:3:1: b: duplicate key; the first is in line 1\n  b: 2\n  ^"},
		{"large", "a: " + strings.Repeat("x", 2<<20), "in.yaml:1:1: the file has 2097155 bytes; at most 1048576 are read\n  a: " +
			strings.Repeat("x", 117) + "...\n  ^"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Load(config.Source{Name: "in.yaml", Data: []byte(test.text)}, nil)
			if diff := cmp.Diff(test.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// TestLimits: hostile files are refused, soon.
func TestLimits(t *testing.T) {
	var aliases strings.Builder
	aliases.WriteString("a0: &a0 [1, 1, 1, 1]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&aliases, "a%d: &a%d [*a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d]\n", i, i, i-1)
	}
	var blocks strings.Builder
	for i := range 500 {
		blocks.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	tests := []struct{ name, text, want string }{
		{"aliases", aliases.String(), "more than 200000 values, with aliases expanded"},
		{"recursive alias", "a: &a\n  b: *a\n", "alias *a stands inside of the value that it repeats"},
		{"list", "a: [" + strings.Repeat("1,", 250_000) + "]", "more than 200000 values, with aliases expanded"},
		{"blocks", blocks.String(), "nested more than 64 levels deep"},
		{"flow", "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested more than 64 levels deep"},
		{"deeper flow", "a: " + strings.Repeat("[", 50_000), "exceeded max depth"},
		{"duplicates", strings.Repeat("a: 1\n", 100_000), "more errors follow"},
		{"unclosed", strings.Repeat("a:\n- [\n", 1000), "not YAML"},
		{"unclosed block", strings.Repeat("a: 1\n", 40_000) + "  - x\nb\n", "not YAML"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Load(config.Source{Name: "in.yaml", Data: []byte(test.text)}, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %.500v, want %q", err, test.want)
			}
			if n := len(fmt.Sprint(err)); n > 50_000 {
				t.Errorf("the message has %d bytes", n)
			}
		})
	}
}

// TestManyErrors: the number of errors of one decoding is limited.
func TestManyErrors(t *testing.T) {
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	err := load(t, b.String()).Decode(&machine{})
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) != 100 || errs[99].Problem != "more errors follow" {
		t.Errorf("%d errors, the last %v", len(errs), errs[len(errs)-1])
	}
}

// TestDocError checks errors that a caller reports.
func TestDocError(t *testing.T) {
	doc := load(t, `
memory:
  dram: {size: {value: 3 GB, source: a b}, bandwidth: 1 TB/s}
links:
  - to: a
  - to: b
"a.b": 3
`)
	if err := doc.Set("memory.l2.size", "4 MiB"); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{"memory.dram.bandwidth", "in.yaml:3:55: memory.dram.bandwidth: bad; good; did you mean X\n    dram: {size: {value: 3 GB, source: a b}, bandwidth: 1 TB/s}\n" + strings.Repeat(" ", 56) + "^"},
		{"memory.dram.size", "in.yaml:3:24: memory.dram.size: bad; good; did you mean X\n    dram: {size: {value: 3 GB, source: a b}, bandwidth: 1 TB/s}\n" + strings.Repeat(" ", 25) + "^"},
		{"memory.dram.kind", "in.yaml:3:3: memory.dram.kind: bad; good; did you mean X\n    dram: {size: {value: 3 GB, source: a b}, bandwidth: 1 TB/s}\n    ^"},
		{"memory.l2.size", "--set memory.l2.size=4 MiB: bad; good; did you mean X\n  memory.l2.size=4 MiB\n                 ^"},
		{"memory.l2", "--set memory.l2.size=4 MiB: memory.l2: bad; good; did you mean X\n  memory.l2.size=4 MiB\n         ^"},
		{"links[1].to", "in.yaml:6:9: links[1].to: bad; good; did you mean X\n    - to: b\n          ^"},
		{"links[7].to", "in.yaml:4:1: links[7].to: bad; good; did you mean X\n  links:\n  ^"},
		{`"a.b"`, "in.yaml:7:8: \"a.b\": bad; good; did you mean X\n  \"a.b\": 3\n         ^"},
		{"", "in.yaml:2:1: bad; good; did you mean X\n  memory:\n  ^"},
	}
	for _, test := range tests {
		got := doc.Error(test.path, "bad", "good", "X").Error()
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", test.path, diff)
		}
	}
	for path, want := range map[string]bool{"memory": true, "memory.dram.size.value": true, "links[1].to": true, `"a.b"`: true,
		"links[2]": false, "memory.sram": false, "": false, "memory..x": false, "memory[0]": false} {
		if doc.Has(path) != want {
			t.Errorf("Has(%q) is not %v", path, want)
		}
	}
}

// TestErrors checks the errors of several files together.
func TestErrors(t *testing.T) {
	base := func(string) (config.Source, error) {
		return config.Source{Name: "base.yaml", Data: []byte("name: a\nclock: fast\n")}, nil
	}
	doc, err := config.Load(config.Source{Name: "top.yaml", Data: []byte("base: b\n\n\ncores: x\nkind: y\n")}, base)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Set("kind", "z"); err != nil {
		t.Fatal(err)
	}
	err = doc.Decode(&machine{})
	var errs config.Errors
	if !errors.As(err, &errs) {
		t.Fatalf("got %T", err)
	}
	var got []string
	for _, e := range errs {
		got = append(got, e.Pos.String())
	}
	if diff := cmp.Diff([]string{"top.yaml:4:8", "base.yaml:2:8", "--set kind=z"}, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	var one *config.Error
	if !errors.As(err, &one) || one.Path != "cores" {
		t.Errorf("the first error is %v", one)
	}
	if err := (config.Errors{}).Err(); err != nil {
		t.Errorf("no errors are %v", err)
	}
}

// level is a text type of the plainest kind; its spellings are not unique.
type level string

func (l *level) UnmarshalText(text []byte) error {
	if len(text) > 8 {
		return errors.New("too long for a level")
	}
	*l = level(strings.ToLower(string(text)))
	return nil
}

// TestOtherTypes covers text types that say nothing about themselves.
func TestOtherTypes(t *testing.T) {
	type levels struct {
		Is   level           `yaml:"is"`
		All  map[level]level `yaml:"all,optional"`
		Some []*level        `yaml:"some,optional"`
		Map  map[string]bool `yaml:"map,optional" doc:"Yes or no."`
		U    uint            `yaml:"u,optional"`
	}
	var got levels
	if err := load(t, "is: HIGH\nall: {A: b}\nu: -0\n").Decode(&got); err != nil || got.Is != "high" || got.All["a"] != "b" {
		t.Errorf("got %+v, %v", got, err)
	}
	tests := []struct{ text, want string }{
		{"is: much too high", "in.yaml:1:5: is: too long for a level\n  is: much too high\n      ^"},
		{"is: [a]", "in.yaml:1:5: is: a list; allowed: a text\n  is: [a]\n      ^"},
		{"{is: a, all: {A: b, a: b}}", "in.yaml:1:21: all.a: duplicate key; it means the same as another one\n  {is: a, all: {A: b, a: b}}\n                      ^"},
		{"{is: a, some: b}", "in.yaml:1:15: some: \"b\" is a single value; allowed: a list, each item a text\n  {is: a, some: b}\n                ^"},
		{"{is: a, map: {x: off, y: treu, z: 1}}", "in.yaml:1:18: map.x: \"off\" is not true or false; allowed: true, false; did you mean false\n" +
			"  {is: a, map: {x: off, y: treu, z: 1}}\n                   ^\n" +
			"in.yaml:1:26: map.y: \"treu\" is not true or false; allowed: true, false; did you mean true\n" +
			"  {is: a, map: {x: off, y: treu, z: 1}}\n                           ^\n" +
			"in.yaml:1:35: map.z: \"1\" is not true or false; allowed: true, false; did you mean true\n" +
			"  {is: a, map: {x: off, y: treu, z: 1}}\n                                    ^"},
	}
	for _, test := range tests {
		err := load(t, test.text).Decode(&got)
		if diff := cmp.Diff(test.want, fmt.Sprint(err)); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	}
	v, root := newValidator(t, config.Schema(levels{}, "Levels", false))
	if err := v.check(root, asJSON(t, []byte("is: HIGH\nall: {A: b}\nmap: {a: true}\n")), ""); err != nil {
		t.Error(err)
	}
}

// TestChain: chains of bases end.
func TestChain(t *testing.T) {
	n := 0
	_, err := config.Load(config.Source{Name: "0", Data: []byte("base: x")}, func(string) (config.Source, error) {
		n++
		return config.Source{Name: fmt.Sprint(n), Data: []byte("base: x")}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "15:1:7: base: more than 16 files in a chain: 0 -> 1 -> 2 -> 3") {
		t.Errorf("got %v", err)
	}
	_, err = config.Load(config.Source{Name: "0", Data: []byte("base: x")}, func(string) (config.Source, error) {
		return config.Source{}, errors.New("the disk is gone")
	})
	if want := "0:1:7: base: the disk is gone\n  base: x\n        ^"; fmt.Sprint(err) != want {
		t.Errorf("got %v", err)
	}
}

// TestSetLimits covers overrides that a file of cases cannot hold.
func TestSetLimits(t *testing.T) {
	doc := load(t, "a: ["+strings.Repeat("1,", 190_000)+"]\n")
	before := string(doc.YAML())
	tests := []struct{ path, value, want string }{
		{"b", strings.Repeat("x", 1<<20), "an override of 1048578 bytes; at most 65536 are read"},
		{"b", "x\ny", "an override of several lines; allowed: one line; lists are written [a, b] and mappings {a: b}"},
		{"b", "x\x00", "control character U+0000; allowed: UTF-8 text"},
		{"b\xff", "x", "byte 0xff is not UTF-8; allowed: UTF-8 text"},
		{"b", "[" + strings.Repeat("1,", 15_000) + "]", "more than 200000 values in the document"},
	}
	for _, test := range tests {
		err := doc.Set(test.path, test.value)
		var errs config.Errors
		if !errors.As(err, &errs) || len(errs) != 1 || strings.TrimPrefix(errs[0].Message(), "b: ") != test.want {
			t.Errorf("got %.300v, want %s", err, test.want)
		}
	}
	if string(doc.YAML()) != before {
		t.Error("the document changed")
	}
}

// TestComposite covers figures of structs, and of what is in them.
func TestComposite(t *testing.T) {
	type point struct {
		X    *float64              `yaml:"x"`
		Tags []string              `yaml:"tags,optional"`
		Name config.Figure[string] `yaml:"name,optional"`
		Up   bool                  `yaml:"up,optional"`
	}
	type shape struct {
		At    config.Figure[point]            `yaml:"at"`
		All   config.Figure[map[string]point] `yaml:"all,optional"`
		Maybe *config.Figure[*unit.Bytes]     `yaml:"maybe,optional"`
	}
	doc := load(t, `
at: {value: {x: 1, tags: [a, "null", b c, "d: e"], name: {value: n, source: s t}}, source: the ruler here}
all: {b: {x: 2}, "a.b": {x: 3, up: true}}
maybe: {value: 3 kB, source: a b}
`)
	var s shape
	if err := doc.Decode(&s); err != nil {
		t.Fatal(err)
	}
	if *s.At.Value.X != 1 || s.At.Source != "the ruler here" || *s.All.Value["b"].X != 2 || s.At.Value.Name.Source != "s t" {
		t.Errorf("got %+v", s)
	}
	got := config.Figures(&s)
	want := []config.NamedFigure{
		{Path: "at", Value: `{x: 1, tags: [a, "null", b c, "d: e"], name: n, up: false}`, Source: "the ruler here", Pos: got[0].Pos},
		{Path: "all", Value: `{a.b: {x: 3, tags: [], name: "", up: true}, b: {x: 2, tags: [], name: "", up: false}}`, Pos: got[1].Pos},
		{Path: "maybe", Value: "3 kB", Source: "a b", Pos: got[2].Pos},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	for _, set := range [][2]string{{"at.value.tags[0]", "z"}, {"all.b.x", "9"}, {"all.c", "{x: 1}"}} {
		if err := doc.Set(set[0], set[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := doc.Decode(&s); err != nil {
		t.Fatal(err)
	}
	for _, f := range config.Figures(&s)[:2] {
		if f.Source != "--set" {
			t.Errorf("%s has source %q", f.Path, f.Source)
		}
	}
	const printed = `at: {value: {x: 1, tags: [z, "null", b c, "d: e"], name: {value: n, source: s t}}, source: "--set"}
all: {value: {b: {x: 9}, a.b: {x: 3, up: true}, c: {x: 1}}, source: "--set"}
maybe: {value: 3 kB, source: a b}
`
	if diff := cmp.Diff(printed, string(doc.YAML())); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if err := doc.Set("at", "{x: }"); err != nil {
		t.Fatal(err)
	}
	const message = "--set at={x: }: at.x: no value; allowed: a number\n  at={x: }\n      ^"
	if err := doc.Decode(&s); err == nil || err.Error() != message {
		t.Errorf("got %v", err)
	}
}

// TestClone: a copy changes on its own.
func TestClone(t *testing.T) {
	doc := load(t, "a: {b: [1, {c: 2}]}\n")
	clone := doc.Clone()
	if err := clone.Set("a.b[1].c", "3"); err != nil {
		t.Fatal(err)
	}
	if err := clone.Set("a.d", "3"); err != nil {
		t.Fatal(err)
	}
	if got := string(doc.YAML()); got != "a:\n  b:\n    - 1\n    - c: 2\n" {
		t.Errorf("the original is\n%s", got)
	}
	if got := string(clone.YAML()); got != "a:\n  b:\n    - 1\n    - c: 3\n  d: 3\n" {
		t.Errorf("the copy is\n%s", got)
	}
}

// TestMistakes: wrong tags and types are mistakes of the program.
func TestMistakes(t *testing.T) {
	tests := map[string]any{
		"not a pointer": struct{}{},
		"option": &struct {
			A int `yaml:"a,inline"`
		}{},
		"name": &struct {
			A int `yaml:"a.b"`
		}{},
		"not exported": &struct {
			a int `yaml:"a"`
		}{},
		"twice": &struct {
			A int `yaml:"a"`
			B int `yaml:"a"`
		}{},
		"bound": &struct {
			A int `yaml:"a" bound:"=3"`
		}{},
		"bound of text": &struct {
			A string `yaml:"a" bound:">3"`
		}{},
		"bound unit": &struct {
			A unit.Bytes `yaml:"a" bound:">3 kg"`
		}{},
		"bound number": &struct {
			A float64 `yaml:"a" bound:">x"`
		}{},
		"enum": &struct {
			A int `yaml:"a" enum:"1,2"`
		}{},
		"type": &struct {
			A complex64 `yaml:"a"`
		}{},
		"map key": &struct {
			A map[int]int `yaml:"a"`
		}{},
	}
	for name, v := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := recover(); r == nil || !strings.HasPrefix(fmt.Sprint(r), "config: ") {
					t.Errorf("got %v, want a panic", r)
				}
			}()
			err := load(t, "a: 1\n").Decode(v)
			err2 := load(t, "a: {b: 1}\n").Decode(v)
			t.Error(err, err2)
		})
	}
}

func TestSuggest(t *testing.T) {
	tests := []struct {
		word string
		from []string
		want string
	}{
		{"bandwith", []string{"size", "bandwidth"}, "bandwidth"},
		{"bandwdith", []string{"size", "bandwidth"}, "bandwidth"},
		{"l2_cache", []string{"l2-cache", "l1-cache"}, "l2-cache"},
		{"L2Cache", []string{"l1-cache", "l2-cache"}, "l2-cache"},
		{"szie", []string{"size", "side"}, "size"},
		{"x", []string{"y", "z"}, ""},
		{"", []string{""}, ""},
		{"clock", []string{"memory", "power"}, ""},
		{"h10", []string{"h100", "h200"}, "h100"},
		{"size", nil, ""},
		{strings.Repeat("a", 1000), []string{strings.Repeat("a", 1001)}, ""},
	}
	for _, test := range tests {
		if got := config.Suggest(test.word, test.from); got != test.want {
			t.Errorf("Suggest(%.20q, %.60q) = %q, want %q", test.word, test.from, got, test.want)
		}
	}
}
