package cycle_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"maru/arch"
	"maru/arch/dtype"
	"maru/sim/cycle"
	"maru/sim/machine"
	"maru/workloads/compile"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

func chip(t testing.TB, sets ...string) *arch.Chip {
	t.Helper()
	c, _, err := arch.Load("groq-lpu", sets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func compiled(t testing.TB, g *graph.Graph, p plan.Plan, c *arch.Chip) *trace.Trace {
	t.Helper()
	p.Fuse, p.Wide = true, dtype.FP16
	tr, _, err := compile.Compile(g, p, c, compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func network(t testing.TB, name string, p plan.Plan, c *arch.Chip) *trace.Trace {
	t.Helper()
	m, err := model.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	p.Wide = dtype.FP16
	g, err := model.Build(m, p)
	if err != nil {
		t.Fatal(err)
	}
	return compiled(t, g, p, c)
}

// TestSchedule holds the schedules that the compiler emits to the rules, and
// the simulation to their length: no clock of difference.
func TestSchedule(t *testing.T) {
	c := chip(t)
	for _, w := range []struct {
		model string
		p     plan.Plan
	}{
		{"resnet-50", plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 1, DType: dtype.Int8, KVDType: dtype.FP16}},
		{"gpt2", plan.Plan{Phase: plan.Decode, Batch: 1, Seq: 512, DType: dtype.Int8, KVDType: dtype.FP16}},
		{"vit-b-16", plan.Plan{Phase: plan.Forward, Batch: 2, Seq: 1, DType: dtype.FP16, KVDType: dtype.FP16}},
	} {
		tr := network(t, w.model, w.p, c)
		found, length, err := cycle.Check(c, tr)
		if err != nil || len(found) > 0 {
			t.Fatalf("%s: %v %v", w.model, err, found)
		}
		res, err := machine.Replay(c, tr, machine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		hz := int64(c.Clock.Max.Value)
		if got, want := res.LatencyPS, length*1e12/hz; got != want {
			t.Errorf("%s: %d ps, the schedule is %d clocks, %d ps", w.model, got, length, want)
		}
	}
}

// TestProducts draws products: their schedules hold, and take as long as they
// say.
func TestProducts(t *testing.T) {
	c := chip(t)
	rapid.Check(t, func(rt *rapid.T) {
		n := func(name string) int { return rapid.IntRange(1, 3000).Draw(rt, name) }
		g, err := model.ParseOp(fmt.Sprintf("gemm:m=%d,n=%d,k=%d", n("m"), n("n"), n("k")), plan.Plan{Batch: 1, Seq: 1, DType: dtype.Int8})
		if err != nil {
			rt.Fatal(err)
		}
		tr := compiled(t, g, plan.Plan{Batch: 1, Seq: 1, DType: dtype.Int8}, c)
		found, length, err := cycle.Check(c, tr)
		if err != nil || len(found) > 0 {
			rt.Fatal(err, found)
		}
		res, err := machine.Replay(c, tr, machine.Options{})
		if err != nil {
			rt.Fatal(err)
		}
		if want := length * 1e12 / int64(c.Clock.Max.Value); res.LatencyPS != want {
			rt.Fatalf("%d ps, the schedule takes %d", res.LatencyPS, want)
		}
	})
}

// TestPerturbed changes single latencies and clocks by one: the instruction
// that no longer holds is named.
func TestPerturbed(t *testing.T) {
	c := chip(t)
	p := plan.Plan{Batch: 1, Seq: 1, DType: dtype.Int8}
	g, err := model.ParseOp("gemm:m=64,n=640,k=2048", p)
	if err != nil {
		t.Fatal(err)
	}
	tr := compiled(t, g, p, c)
	for _, set := range []string{"cores.scratchpad.latency=18 clk", "memory.shared.latency=22 ns", "cores.matrix.systolic.fill=61 clk"} {
		found, _, err := cycle.Check(chip(t, set), tr)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 || found[0].Program == "" || !strings.Contains(found[0].Text, "arrives in clock") && !strings.Contains(found[0].Text, "filled again") && !strings.Contains(found[0].Text, "may follow") {
			t.Errorf("%s: found %v", set, found)
		}
		if _, err := machine.Replay(chip(t, set), tr, machine.Options{}); err == nil {
			t.Errorf("%s: replayed", set)
		}
	}
	// A stall of one clock: an instruction issues later, what depends on it does not.
	stalled, err := compile.Reschedule(c, tr)
	if err != nil {
		t.Fatal(err)
	}
	body := stalled.Programs[0].Parts[0].Code[0].Body
	for i := range body {
		if body[i].Kind == trace.Load && !body[i].Local { // the one that arrives last
			body[i].At++
			break
		}
	}
	found, _, err := cycle.Check(c, stalled)
	if err != nil || len(found) == 0 {
		t.Fatal(err, found)
	}
	if v := found[0]; body[v.Instruction].Kind != trace.MatMul || !strings.Contains(v.Error(), "the matmul reads the result of instruction") {
		t.Errorf("found %v", v)
	}
	// Two instructions on one unit.
	clash, err := compile.Reschedule(c, tr)
	if err != nil {
		t.Fatal(err)
	}
	clash.Programs[1].Parts[0].Code[0].Interval--
	found, _, err = cycle.Check(c, clash)
	if err != nil || len(found) == 0 || !strings.Contains(found[0].Text, "unit is held") && !strings.Contains(found[0].Text, "filled again") {
		t.Errorf("found %v, %v", found, err)
	}
}

// TestSame replays a schedule on chips that differ in what they are asked for:
// there is nothing in a run that could differ.
func TestSame(t *testing.T) {
	c := chip(t)
	tr := network(t, "resnet-50", plan.Plan{Phase: plan.Forward, Batch: 1, Seq: 1, DType: dtype.Int8, KVDType: dtype.FP16}, c)
	var first int64
	for i, opt := range []machine.Options{{}, {Exact: true}, {NoCap: true}, {Replays: 10}, {Timeline: true}} {
		res, err := machine.Replay(c, tr, opt)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = res.LatencyPS
		}
		if res.LatencyPS != first {
			t.Errorf("%+v: %d ps, want %d", opt, res.LatencyPS, first)
		}
	}
}
