package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// text is the canonical form of a valid trace.
func text(t testing.TB, tr *Trace) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, tr); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRoundTrip: what Write writes, Parse reads back unchanged.
func TestRoundTrip(t *testing.T) {
	gen := genTrace()
	rapid.Check(t, func(rt *rapid.T) {
		want := gen.Draw(rt, "trace")
		var b bytes.Buffer
		if err := Write(&b, want); err != nil {
			rt.Fatal(err)
		}
		first := b.String()
		got, err := Parse("t.trace", &b)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("parsed trace differs (-written +read):\n%s", diff)
		}
		if err := Write(&b, got); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(first, b.String()); diff != "" {
			rt.Fatalf("second writing differs:\n%s", diff)
		}
		if Hash(want) != Hash(got) {
			rt.Fatal("equal traces have different hashes")
		}
	})
}

// readTrace parses a file of the repository.
func readTrace(t testing.TB, file string) (*Trace, string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := Parse(filepath.Base(file), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return tr, string(data)
}

// TestExamples: the example files are valid, and their canonical form says the
// same.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.trace")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %d example traces, %v", len(files), err)
	}
	for _, file := range files {
		tr, _ := readTrace(t, file)
		again, err := Parse("canonical", strings.NewReader(text(t, tr)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tr, again); diff != "" {
			t.Errorf("%s: canonical form differs:\n%s", file, diff)
		}
	}
}

// TestExampleContents: the figures of the examples follow from their shapes.
func TestExampleContents(t *testing.T) {
	for _, file := range []string{"gemm", "softmax"} {
		tr, _ := readTrace(t, "../../examples/"+file+".trace")
		op, part := &tr.Programs[0].Ops[0], &tr.Programs[0].Parts[0]
		var flops, special int64
		covered := make([]int64, len(tr.Tensors)) // elements stored or loaded once, clipped
		seen := map[string]bool{}
		for _, s := range part.Code {
			trips := int64(1)
			if s.Count != nil {
				trips = s.Count.Eval([4]int64{}, 0)
			}
			for _, in := range s.Body {
				flops += 2 * in.M * in.N * in.K * trips * part.Tiles()
				if in.Kind == Special {
					special += in.Count * trips * part.Tiles()
				}
				if in.Kind != Load && in.Kind != Store {
					continue
				}
				x := &tr.Tensors[in.Slot]
				regions := map[string]int64{}
				for tile := range part.Tiles() {
					g := [4]int64{tile % part.Grid[0], tile / part.Grid[0]}
					for k := range trips {
						row, col := in.Row.Eval(g, k), in.Col.Eval(g, k)
						regions[fmt.Sprint(row, ",", col)] = min(in.Rows, x.Rows-row) * min(in.Cols, x.Cols-col)
					}
				}
				if !seen[x.Name] {
					for _, n := range regions {
						covered[in.Slot] += n
					}
				}
				seen[x.Name] = true
			}
		}
		if flops != op.Flops {
			t.Errorf("%s: instructions do %d flops, the operator has %d", file, flops, op.Flops)
		}
		if special < op.SpecialOps {
			t.Errorf("%s: instructions do %d special operations, the operator has %d", file, special, op.SpecialOps)
		}
		var bytes int64
		for i := range tr.Tensors {
			x := &tr.Tensors[i]
			bytes += x.Bytes()
			if covered[i] != x.Rows*x.Cols {
				t.Errorf("%s: regions cover %d elements of %s, which has %d", file, covered[i], x.Name, x.Rows*x.Cols)
			}
		}
		if got := op.ReadBytes + op.WriteBytes; got != bytes {
			t.Errorf("%s: compulsory traffic of %d bytes, tensors of %d", file, got, bytes)
		}
		if got := tr.Header.Memory.Total(); got != bytes {
			t.Errorf("%s: footprint of %d bytes, tensors of %d", file, got, bytes)
		}
	}
}

// TestDocument: the traces in the document are valid, and it names every word
// and limit.
func TestDocument(t *testing.T) {
	data, err := os.ReadFile("../../docs/trace.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	blocks := regexp.MustCompile("(?s)```trace\n(.*?)```").FindAllStringSubmatch(doc, -1)
	if len(blocks) == 0 {
		t.Error("the document has no ```trace block")
	}
	for _, b := range blocks {
		if _, err := Parse("docs/trace.md", strings.NewReader(b[1])); err != nil {
			t.Error(err)
		}
	}
	for word, form := range forms {
		if !strings.Contains(doc, "\n"+form+"\n") {
			t.Errorf("the document lacks the form of %s: %s", word, form)
		}
	}
	for _, role := range roleWords {
		if !strings.Contains(doc, "`"+role+"`") {
			t.Errorf("the document lacks the role %s", role)
		}
	}
	for _, limit := range []struct {
		what string
		n    int64
	}{
		{"bytes of a file", MaxFile}, {"bytes of a line", MaxLine}, {"bytes of a name", MaxName},
		{"tensors", MaxTensors}, {"programs", MaxPrograms}, {"launches", MaxLaunches}, {"layers", MaxLayers},
		{"slots of a program", MaxSlots}, {"operators, parts, steps and instructions of all programs", MaxCode},
		{"any extent, coefficient or number of the header", MaxSize}, {"bytes of a tensor", MaxTensorBytes},
		{"bytes of all tensors, and of each part of the footprint", MaxMemory},
		{"threads, and registers of a thread", MaxThreads}, {"M, N and K of a matmul", MaxMatMul},
		{"stages, ways and groups of a loop", MaxStages}, {"any term of an expression over its grid and loop", MaxValue},
		{"tile programs of a launch", MaxTiles}, {"iterations of a loop", MaxCount},
		{"clocks of set-up", MaxCount}, {"tile programs of all launches", MaxAllTiles}, {"instructions, as written, of all launches", MaxAllCode},
		{"loop iterations of all tile programs", MaxIterations},
		{"flops, operations or bytes of each sort, over the trace", MaxWork},
	} {
		if row := fmt.Sprintf("| %s | %s |", limit.what, amount(limit.n)); !strings.Contains(doc, row) {
			t.Errorf("the document lacks the limit %s", row)
		}
	}
}

// TestCutOff: no beginning of a file is taken for a whole one.
func TestCutOff(t *testing.T) {
	_, data := readTrace(t, "../../examples/gemm.trace")
	whole := strings.TrimRight(data, "\n")
	for n := range whole {
		if _, err := Parse("cut", strings.NewReader(whole[:n])); err == nil {
			t.Fatalf("the first %d of %d bytes parse", n, len(whole))
		}
	}
	if _, err := Parse("whole", strings.NewReader(whole)); err != nil {
		t.Errorf("without its last line end: %v", err)
	}
	if _, err := Parse("crlf", strings.NewReader(strings.ReplaceAll(data, "\n", "\r\n"))); err != nil {
		t.Errorf("with CR LF: %v", err)
	}
}

// endless reads as a file of one comment without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
	}
	return len(p), nil
}

// TestSizes: files and lines that are too long are refused.
func TestSizes(t *testing.T) {
	_, err := parse("big", endless{}, 1<<20)
	if want := "big: file of more than 2^20 bytes; no trace needs as much"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	long := "maru-trace 1\nrun dtype=bf16\n" + strings.Repeat(" ", MaxLine) + "#\nend\n"
	_, err = Parse("long", strings.NewReader(long))
	if err == nil || !strings.HasPrefix(err.Error(), "long:3:1: line of more than 1024 KiB; ") {
		t.Errorf("got %v", err)
	}
}

// TestHostile: files that ask for too much end in an error, after time and
// memory in proportion to their size.
func TestHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("reads files of tens of megabytes")
	}
	const head = "maru-trace 1\nrun dtype=bf16\n"
	const noop = "program 0 p\nop 0 o\npart grid=1\ndo\nbarrier\nend\nend\nend\n"
	count := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, c := range map[string]struct{ text, want string }{
		"tensors":  {head + count(MaxTensors+1, "tensor %[1]d t%[1]d 1x1 int8 input\n"), "too many tensors"},
		"programs": {head + count(MaxPrograms+1, "program %d p\nend\n"), "too many programs"},
		"launches": {head + noop + strings.Repeat("launch 0\n", MaxLaunches+1), "too many launches"},
		"code":     {head + "program 0 p\npart grid=1\ndo\n" + strings.Repeat("barrier\n", MaxCode), "programs are too long"},
		"slots":    {head + "program 0 p slots=" + count(MaxSlots+1, "s%d,") + "s\n", "too many slots"},
		"keys":     {head + noop + "launch 0 " + strings.Repeat("q=1 r=2 ", MaxLine/8-2) + "\n", `unknown slot "q"`},
		"words":    {head + strings.Repeat("x ", MaxLine/2) + "\n", `unknown word "x"`},
		"slot name": {head + "tensor 0 t 1x1 int8 input\n" +
			"program 0 p slots=" + strings.Repeat("s", MaxName+1) + "\n", "slot name of 257 bytes"},
		"replay": {head + "program 0 p\nop 0 o\npart grid=1\ndo\n" + strings.Repeat("barrier\n", 1<<14) + "end\nend\nend\n" +
			strings.Repeat("launch 0\n", 1<<18+1) + "end\n", "more than 2^32 instructions as written"},
	} {
		_, err := Parse(name, strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %.300v, want %s", name, err, c.want)
		}
	}
}

// TestReadError: a failing reader's error comes through.
func TestReadError(t *testing.T) {
	_, err := Parse("pipe", io.MultiReader(strings.NewReader("maru-trace 1\n"), failing{}))
	if !errors.Is(err, errFailing) {
		t.Errorf("got %v", err)
	}
}

var errFailing = errors.New("pipe broke")

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errFailing }
func (failing) Write([]byte) (int, error) { return 0, errFailing }

// TestWriteError: so does a failing writer's, and an invalid trace is not
// written at all.
func TestWriteError(t *testing.T) {
	tr, _ := readTrace(t, "../../examples/gemm.trace")
	if err := Write(failing{}, tr); !errors.Is(err, errFailing) {
		t.Errorf("got %v", err)
	}
	tr.Tensors[0].Rows = 0
	var b bytes.Buffer
	var list Errors
	if err := Write(&b, tr); !errors.As(err, &list) || b.Len() > 0 {
		t.Errorf("invalid trace: error %v and %d bytes", err, b.Len())
	}
}

// TestHash: the hash tells traces apart, valid or not.
func TestHash(t *testing.T) {
	tr, _ := readTrace(t, "../../examples/gemm.trace")
	before := Hash(tr)
	tr.Launches[0].Args[0] = 7
	if Hash(tr) == before {
		t.Error("a changed trace has the same hash")
	}
	tr.Launches[0].Args[0] = 0
	if Hash(tr) != before {
		t.Error("the same trace has another hash")
	}
}

func TestFamily(t *testing.T) {
	for name, want := range map[string]string{
		"layer.7.attn.q.weight":      "layer.*.attn.q.weight",
		"encoder.layer.12.mlp":       "encoder.layer.*.mlp",
		"layer.0.a":                  "layer.*.a",
		"layer.3.layer.4.a":          "layer.*.layer.4.a",
		"embed.weight":               "embed.weight",
		"player.7.a":                 "player.7.a",
		"layer.7":                    "layer.7",
		"layer.07.a":                 "layer.07.a",
		"layer.x.layer.2.a":          "layer.x.layer.*.a",
		"layer.":                     "layer.",
		"layer.99999999999999999.a":  "layer.99999999999999999.a",
		"layer.1048575.a":            "layer.*.a",
		"tail.layer.5.":              "tail.layer.*.",
		"a.layer.6b.layer.6.b.layer": "a.layer.6b.layer.*.b.layer",
	} {
		tr := &Trace{Tensors: []Tensor{{Name: name}}}
		if got := tr.Family(0); got != want {
			t.Errorf("family of %s is %s, want %s", name, got, want)
		}
	}
}
