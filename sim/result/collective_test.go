package result

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func someCollective() *Collective {
	return &Collective{
		Version: Version, Kind: "collective", Program: "maru", Hash: "0", System: "s", Chips: 2, LatencyUS: 3, LatencyPS: 3e6,
		Ops: []CollectiveOp{{Op: "allgather", Bytes: 2000, Ranks: 2, LatencyUS: 3, LatencyPS: 3e6, AloneUS: 2,
			Others: []Way{{Algorithm: "ring", Protocol: "ll", CostUS: 4}},
			Phases: []CollectivePhase{{Name: "ring", TimePS: 2e6, TransferPS: 1e6, Bytes: 2000}}}},
		Links:  []LinkLoad{{Name: "a", RateBps: 1e9, Bytes: 1000, Utilization: 1. / 3}},
		Matrix: [][]int64{{0, 1000}, {1000, 0}},
		Switch: [][]int64{},
	}
}

func TestCollectiveFile(t *testing.T) {
	want := someCollective()
	var b bytes.Buffer
	if err := WriteCollective(&b, want); err != nil {
		t.Fatal(err)
	}
	if !IsCollective(b.Bytes()) {
		t.Error("a result of collectives is not known as one")
	}
	got, err := ReadCollective(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "{", `{"version": 2, "kind": "collective"}`, `{"version": 1}`, `{"version": 1, "kind": "collective", "chips": "x"}`} {
		if _, err := ReadCollective(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), "result: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCollectiveValidate(t *testing.T) {
	for name, spoil := range map[string]func(*Collective){
		"no time":           func(r *Collective) { r.Ops[0].LatencyPS = 0 },
		"faster than alone": func(r *Collective) { r.Ops[0].Phases[0].TimePS = 4e6 },
		"ends elsewhere":    func(r *Collective) { r.LatencyPS = 4e6 },
		"too busy":          func(r *Collective) { r.Links[0].Utilization = 1.1 },
	} {
		r := someCollective()
		spoil(r)
		if r.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
