package collective_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/sim/result"
	"maru/studies/collective"
	plan "maru/workloads/parallel/collective"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want plan.Request
		err  string
	}{
		{text: "allreduce:bytes=512MiB", want: plan.Request{Kind: plan.AllReduce, Bytes: 512 << 20}},
		{text: "alltoall: bytes = 1000 , ranks=0-6/2&7", want: plan.Request{Kind: plan.AllToAll, Bytes: 1000, Ranks: []int{0, 2, 4, 6, 7}}},
		{text: "send:bytes=1 kB,ranks=3&1", want: plan.Request{Kind: plan.Send, Bytes: 1000, Ranks: []int{3, 1}}},
		{text: "allreduc:bytes=1", err: `op: unknown collective "allreduc"; allowed: allreduce, allgather, reducescatter, alltoall, broadcast, send; did you mean allreduce`},
		{text: "allreduce:bytes", err: `op: allreduce: no value for "bytes"; allowed: KEY=VALUE`},
		{text: "allreduce:bytes=-1", err: "op: allreduce.bytes: -1; allowed: a size such as 512MiB"},
		{text: "allreduce:bytes=1,ranks=0-x", err: `op: allreduce.ranks: "0-x"; allowed: numbers and ranges such as 0-7 or 0-14/2, joined by &`},
		{text: "allreduce:bytes=1,ranks=0-9999999", err: `op: allreduce.ranks: "0-9999999"; allowed: numbers and ranges such as 0-7 or 0-14/2, joined by &`},
	} {
		got, err := collective.Parse(c.text)
		if err != nil || c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, want %s", c.text, err, c.err)
			}
			continue
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.text, d)
		}
	}
	for text, want := range map[string]bool{"allreduce:bytes=1": true, "gemm:m=1,n=1,k=1": false, "": false, "allreducer": false} {
		if got := collective.IsOp(text); got != want {
			t.Errorf("%q is a collective: %v", text, got)
		}
	}
}

// A collective costs a handful of events, however many chips take part.
func TestEvents(t *testing.T) {
	res, err := collective.Run(collective.Input{System: "selene", Chips: 16384, Op: "allreduce:bytes=1GiB+alltoall:bytes=1GiB,ranks=0-16383/64"})
	if err != nil {
		t.Fatal(err)
	}
	if res.Events > 10 || len(res.Links) != 2048 || res.Matrix != nil {
		t.Errorf("%d events, %d links, a matrix of %d chips", res.Events, len(res.Links), len(res.Matrix))
	}
}

// A run's bytes agree level by level: what ranks send is what the matrix holds and what links carry.
func TestRun(t *testing.T) {
	for _, in := range []collective.Input{
		{System: "dgx-h100", Op: "allreduce:bytes=100MB"},
		{System: "dgx-h100", Op: "allreduce:bytes=100MB", Algorithm: "ring"},
		{System: "tpu-v5e-pod", Chips: 64, Op: "allgather:bytes=1MB"},
		{System: "selene", Chips: 32, Op: "allreduce:bytes=100MB,ranks=0-15+alltoall:bytes=1MB,ranks=0-31/4"},
	} {
		res, err := collective.Run(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Validate(); err != nil {
			t.Error(err)
		}
		var sent, matrix, own int64
		for _, op := range res.Ops {
			sent += op.SentBytes
		}
		for _, row := range res.Matrix {
			for _, b := range row {
				matrix += b
			}
		}
		for _, s := range res.Switch {
			own += s[0]
		}
		if matrix+own != sent {
			t.Errorf("%+v: %d in the matrix, %d to the switch, %d sent", in, matrix, own, sent)
		}
		again, err := collective.Run(in)
		if err != nil {
			t.Fatal(err)
		}
		var a, b bytes.Buffer
		if err := result.WriteCollective(&a, res); err != nil {
			t.Fatal(err)
		}
		if err := result.WriteCollective(&b, again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%+v: two runs differ", in)
		}
	}
}
