package result_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"maru/internal/goldentest"
	"maru/sim/result"
	"maru/sim/result/resulttest"
)

func written(t testing.TB, r *result.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := result.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteReadsBack(t *testing.T) {
	for name, r := range map[string]*result.Result{
		"prefill": resulttest.Prefill(), "gemm": resulttest.GEMM(), "copy": resulttest.Copy(), "zero": {Version: 1},
		"odd strings": {Version: 1, Model: "a\"b\\c{[:,]} <null> \n\u2028", Warnings: []string{"{", "]", "null", ""}},
	} {
		first := written(t, r)
		got, err := result.Read(bytes.NewReader(first))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(r, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s changed (-wrote +read):\n%s", name, d)
		}
		if second := written(t, got); !bytes.Equal(first, second) {
			t.Errorf("%s: writing what was read gives other bytes", name)
		}
		if bytes.Contains(first, []byte(": null")) {
			t.Errorf("%s: null in the file", name)
		}
	}
}

func TestGolden(t *testing.T) {
	got := written(t, resulttest.GEMM())
	goldentest.Check(t, "gemm.json", string(got))
}

func TestWriteFails(t *testing.T) {
	r := resulttest.GEMM()
	if err := result.Write(failing{}, r); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a failing writer gives %v", err)
	}
	zero := 0.0
	r.MFU = 1 / zero
	if err := result.Write(&bytes.Buffer{}, r); err == nil {
		t.Error("an infinity was written")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestReadRefuses(t *testing.T) {
	whole := string(written(t, resulttest.GEMM()))
	for _, c := range []struct{ name, in, want string }{
		{"empty", " \n", "empty file"},
		{"newer", `{"version": 2, "levels": "changed"}`, "version 2 is newer than this program reads (up to 1)"},
		{"zero", `{"version": 0}`, "versions start at 1"},
		{"no version", `{"chip": "x"}`, `no "version"`},
		{"list", `[1, 2]`, "a result is a JSON object, not array"},
		{"number", `7`, "not number"},
		{"truncated", whole[:len(whole)/2], "truncated"},
		{"text", "version: 1\n", "line 1, column 1"},
		{"two values", `{"version": 1} {}`, "after top-level value"},
		{"wrong kind", "{\"version\": 1,\n \"ops\": [{\"count\": \"three\"}]}", "line 2"},
		{"too large a number", `{"version": 1, "flops": 1e300}`, "does not fit int64"},
		{"many objects", `{"version":1,"ops":[` + strings.Repeat("{},", 1<<20) + `{}]}`, "objects; at most"},
	} {
		r, err := result.Read(strings.NewReader(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
		if r != nil {
			t.Errorf("%s: a result came with the error", c.name)
		}
	}
}

func TestReadIgnoresUnknownKeys(t *testing.T) {
	r, err := result.Read(strings.NewReader(`{"version": 1, "chip": "x", "later": {"a": [1, 2]}}`))
	if err != nil || r.Chip != "x" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func FuzzRead(f *testing.F) {
	whole := written(f, resulttest.GEMM())
	f.Add(whole)
	f.Add(whole[:100])
	f.Add([]byte(`{"version":1,"ops":[{"limits":[{}]}],"units":null,"timeline":{"kernels":[{"util":[1]}]}}`))
	f.Add([]byte(`{"version":1,"latency_ps":-9223372036854775808,"latency_us":1e308}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := result.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		_ = r.Validate()
		first := written(t, r)
		again, err := result.Read(bytes.NewReader(first))
		if err != nil {
			t.Fatalf("does not read back: %v\n%s", err, first)
		}
		if second := written(t, again); !bytes.Equal(first, second) {
			t.Fatalf("bytes differ after reading back\n%s\n%s", first, second)
		}
	})
}
