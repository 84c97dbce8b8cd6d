package perfetto_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/internal/goldentest"
	"maru/reports/perfetto"
	"maru/sim/result"
	"maru/sim/result/resulttest"
)

type event struct {
	Phase string         `json:"ph"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Name  string         `json:"name"`
	Time  json.Number    `json:"ts"`
	Dur   json.Number    `json:"dur"`
	Args  map[string]any `json:"args"`
}

// ps reads microseconds written to the picosecond.
func ps(t *testing.T, n json.Number) int64 {
	t.Helper()
	whole, frac, _ := strings.Cut(n.String(), ".")
	if len(frac) > 6 {
		t.Fatalf("%s is finer than a picosecond", n)
	}
	v, err := json.Number(whole + (frac + "000000")[:6]).Int64()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func events(t *testing.T, res *result.Result) []event {
	t.Helper()
	var b bytes.Buffer
	if err := perfetto.Write(&b, res); err != nil {
		t.Fatal(err)
	}
	var file struct {
		Unit   string         `json:"displayTimeUnit"`
		Other  map[string]any `json:"otherData"`
		Events []event        `json:"traceEvents"`
	}
	dec := json.NewDecoder(&b)
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if file.Unit != "ns" || file.Other["program"] != res.Program {
		t.Errorf("head: %q, %v", file.Unit, file.Other)
	}
	return file.Events
}

// check holds what every trace must: named tracks, no overlap on a track, no
// time outside the run, counters in order.
func check(t *testing.T, res *result.Result, list []event) {
	t.Helper()
	type track struct{ pid, tid int }
	named := map[track]string{}
	at := map[track]int64{}
	counted := map[string]int64{}
	for _, e := range list {
		key := track{e.PID, e.TID}
		switch e.Phase {
		case "M":
			if e.Name == "thread_name" || e.Name == "process_name" {
				named[key] = e.Args["name"].(string)
			}
		case "X":
			start, dur := ps(t, e.Time), ps(t, e.Dur)
			if dur <= 0 || start < 0 || start+dur > res.LatencyPS {
				t.Errorf("%s: %d ps for %d ps", e.Name, start, dur)
			}
			if start < at[key] {
				t.Errorf("%s on %q starts at %d ps, before %d", e.Name, named[key], start, at[key])
			}
			at[key] = start + dur
			if named[key] == "" || named[track{e.PID, 0}] == "" {
				t.Errorf("%s is on a track without a name", e.Name)
			}
		case "C":
			if now := ps(t, e.Time); now < counted[e.Name] {
				t.Errorf("counter %s goes back in time", e.Name)
			} else {
				counted[e.Name] = now
			}
			for k, v := range e.Args {
				if f, err := v.(json.Number).Float64(); err != nil || f < 0 || k == "%" && f > 100 {
					t.Errorf("counter %s: %v", e.Name, v)
				}
			}
		default:
			t.Errorf("event of phase %q", e.Phase)
		}
	}
}

func TestWrite(t *testing.T) {
	for name, res := range map[string]*result.Result{
		"prefill": resulttest.Prefill(), "decode": resulttest.Decode(), "gemm": resulttest.GEMM(), "copy": resulttest.Copy(),
		"kernels": resulttest.Kernels(300), "empty": {Version: 1},
	} {
		list := events(t, res)
		check(t, res, list)
		drawn := 0
		for _, e := range list {
			if e.Phase == "X" && e.Args["kernel"] != nil {
				drawn++
			}
		}
		if drawn != len(res.Timeline.Kernels) {
			t.Errorf("%s: %d of %d kernels", name, drawn, len(res.Timeline.Kernels))
		}
	}
}

func TestTracks(t *testing.T) {
	list := events(t, resulttest.Prefill())
	var names []string
	for _, e := range list {
		if e.Name == "thread_name" {
			names = append(names, e.Args["name"].(string))
		}
	}
	want := []string{"layers", "kernels", "matrix", "vector", "special", "scratchpad", "l2", "dram"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("tracks (-want +got):\n%s", d)
	}
	var counters []string
	for _, e := range list {
		if e.Phase == "C" && !slices.Contains(counters, e.Name) {
			counters = append(counters, e.Name)
		}
	}
	if !slices.Contains(counters, "power") || !slices.Contains(counters, "dram utilization") {
		t.Errorf("counters %v", counters)
	}
}

func TestOverlap(t *testing.T) {
	res := resulttest.GEMM()
	k := res.Timeline.Kernels[0]
	k.StartPS += 10
	res.Timeline.Kernels = append(res.Timeline.Kernels, k)
	check(t, res, events(t, res))
}

func TestHostile(t *testing.T) {
	res := resulttest.GEMM()
	res.Timeline.Kernels[0].Util = []float64{math.NaN(), math.Inf(1)}
	res.Timeline.Kernels[0].Op = "\"\x00<\xff"
	res.Timeline.Core[0].EndPS = -7
	res.Timeline.Kernels = append(res.Timeline.Kernels, result.Kernel{StartPS: math.MaxInt64, EndPS: math.MinInt64})
	events(t, res)
}

func TestGolden(t *testing.T) {
	var b bytes.Buffer
	if err := perfetto.Write(&b, resulttest.GEMM()); err != nil {
		t.Fatal(err)
	}
	goldentest.Check(t, "gemm.json", b.String())
}

func TestWriteError(t *testing.T) {
	if err := perfetto.Write(failing{}, resulttest.Kernels(2000)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }
