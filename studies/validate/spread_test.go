package validate

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maru/workloads/parallel/collective"
)

const modelHeader = "source,system,dtype,model,phase,batch,seq,layers,hidden,heads,ffn,vocab,ranks,parallelism,global_batch,fused,op,latency_us\n"

// A model over four chips takes what a chip's share takes and what moves, which the links say: a sum of all gradients once,
// of the stream twice a layer and once more in each pass, or the stream from stage to stage.
func TestModelSpread(t *testing.T) {
	row := func(batch, ranks int, way, phase string) string {
		return fmt.Sprintf("neusight:label,h100_sxm,fp32,gpt2_small,%s,%d,128,4,256,8,1024,1000,%d,%s,%d,0,e2e,1000\n", phase, batch, ranks, way, batch)
	}
	rep := report(t, map[string]string{"model": modelHeader +
		row(1, 1, "none", "train") + row(4, 4, "dp4", "train") + row(1, 4, "pp4_1", "train") + row(1, 4, "tp4", "train") +
		row(4, 4, "pp4_4", "train") + row(4, 4, "pp4_1", "train") + row(1, 4, "tp4", "inference") + row(4, 1, "none", "train")}, Options{})
	us := map[int]float64{}
	for i, r := range rep.Rows() {
		if r.Status != OK {
			t.Fatalf("row %d: %s", i, r.Reason)
		}
		us[i] = r.Predicted
	}
	s, err := newSystems(nil)
	if err != nil {
		t.Fatal(err)
	}
	net, err := s.among("h100-sxm", 4)
	if err != nil {
		t.Fatal(err)
	}
	moves := func(kind collective.Kind, bytes int64, ranks []int) float64 {
		x, err := alone(net, collective.Request{Kind: kind, Bytes: bytes, Ranks: ranks, Format: "fp32"})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	const stream = 128 * 256 * 4
	weights := network("gpt2", 4, 256, 8, 1024, 1000, 128, 1).Params() * 4
	for _, c := range []struct {
		what      string
		got, want float64
		within    float64
	}{
		{"dp4 against one chip", us[1] - us[0], moves(collective.AllReduce, weights, nil), 1e-9},
		{"pp4 against one chip", us[2] - us[0], 6 * moves(collective.Send, stream, []int{0, 1}), 0.05},
		{"four sequences in one microbatch", us[5] - us[7], 6 * moves(collective.Send, 4*stream, []int{0, 1}), 0.05},
	} {
		if math.Abs(c.got-c.want) > c.within*us[0] {
			t.Errorf("%s: %g us more, want %g", c.what, c.got, c.want)
		}
	}
	sums := moves(collective.AllReduce, stream, nil)
	if us[3] < 18*sums || us[6] < 9*sums || us[3]-18*sums > us[0] {
		t.Errorf("tp4 takes %g and %g us with sums of %g, one chip %g", us[3], us[6], sums, us[0])
	}
	// Of four microbatches three more go through the slowest of four stages: more than 3/4 of the first, less than all of it.
	if rest := (us[4] - us[2]) / us[2]; rest < 0.7 || rest > 1.2 {
		t.Errorf("four microbatches take %g us, one takes %g", us[4], us[2])
	}
}

// A Switch Transformer is a T5 with experts in every second block, half of its blocks in the encoder.
func TestSwitch(t *testing.T) {
	m := network("switchxl4", 48, 1024, 32, 16384, 32128, 512, 1)
	if m == nil || m.Seq2Seq == nil {
		t.Fatal("no Switch Transformer")
	}
	// Without experts it is T5 3B, of which 2 851 598 336 parameters are published, 2048 of them for relative positions.
	s := *m.Seq2Seq
	s.Experts, s.TopK, s.Every = 0, 0, 0
	dense := *m
	dense.Seq2Seq = &s
	if got := dense.Params(); got != 2_851_598_336-2048 {
		t.Errorf("%d parameters without experts", got)
	}
	if got, want := m.Params()-dense.Params(), int64(24*(3*2*1024*16384+4*1024)); got != want {
		t.Errorf("%d parameters of further experts, want %d", got, want)
	}
	for _, name := range []string{"switchxl", "switchxl1", "switch4x"} {
		if network(name, 48, 1024, 32, 16384, 32128, 512, 1) != nil {
			t.Errorf("%s has a network", name)
		}
	}
	if network("switchxl4", 47, 1024, 32, 16384, 32128, 512, 1) != nil || network("switchxl4", 48, 1024, 32, 16384, 32128, 512, 4) != nil {
		t.Error("a network of 47 blocks, or over chips")
	}
}

func TestSpreadOver(t *testing.T) {
	for _, c := range []struct {
		text  string
		ranks int64
		want  spread
		bad   string
	}{
		{"none", 1, spread{1, 1, 1, 1}, ""},
		{"dp4", 4, spread{4, 1, 1, 1}, ""},
		{"tp8", 8, spread{1, 8, 1, 1}, ""},
		{"pp4", 4, spread{1, 1, 4, 1}, ""},
		{"pp4_16", 4, spread{1, 1, 4, 16}, ""},
		{"tp4", 8, spread{}, `parallelism "tp4" is not that of 8 ranks`},
		{"ep4", 4, spread{}, `parallelism "ep4" of a whole model is not described`},
		{"tp4_2", 4, spread{}, `parallelism "tp4_2" of a whole model is not described`},
		{"pp4_0", 4, spread{}, `parallelism "pp4_0" has no microbatches`},
		{"", 4, spread{}, `parallelism "" of a whole model is not described`},
	} {
		got, err := spreadOver(c.text, c.ranks)
		switch {
		case c.bad != "" && (err == nil || err.Error() != c.bad):
			t.Errorf("%s: %v, want %s", c.text, err, c.bad)
		case c.bad == "" && (err != nil || got != c.want):
			t.Errorf("%s: %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct {
		s    spread
		want string
	}{
		{spread{4, 1, 1, 1}, "6 sequences do not fall evenly to 4"},
		{spread{1, 5, 1, 1}, "8 heads do not fall evenly to 5"},
		{spread{1, 1, 5, 1}, "12 layers do not fall evenly to 5"},
		{spread{1, 2, 3, 2}, ""},
	} {
		got := ""
		if err := c.s.check(6, 12, 8, 1024); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.s, got, c.want)
		}
	}
}

const inferenceHeader = "id,source,system,accelerator,n_accel,model,precision,scenario,isl,osl,tp,pp,metric,value,unit\n"

// Rows of full batches are predicted; each of the others says what it lacks.
func TestInference(t *testing.T) {
	const docs = "TensorRT-LLM docs performance overview v1.0"
	rows := `a,` + docs + `,h200_sxm_141gb,,1,llama3.1_8b,fp8,max_throughput_inflight_batching,1000,1000,1,1,output_tokens_per_s,10000,tokens/s
b,` + docs + `,h200_sxm_141gb,,1,llama3.1_8b,fp8,max_throughput_inflight_batching,1000,2000,1,1,output_tokens_per_s,10000,tokens/s
c,` + docs + `,h200_sxm_141gb,,2,llama3.1_8b,fp8,max_throughput_inflight_batching,1000,1000,1,1,output_tokens_per_s,10000,tokens/s
d,` + docs + `,h100_sxm_80gb,,1,llama3.1_8b,fp8,max_throughput_inflight_batching,1000,1000,1,1,output_tokens_per_s,10000,tokens/s
e,` + docs + `,h200_sxm_141gb,,8,llama3.1_405b,fp8,max_throughput_inflight_batching,1000,1000,8,1,output_tokens_per_s,3000,tokens/s
f,` + docs + `,h100_sxm_80gb,,1,llama3.1_405b,fp8,max_throughput_inflight_batching,1000,1000,1,1,output_tokens_per_s,3000,tokens/s
g,MLCommons,h100_sxm_80gb,,8,llama2_70b,fp8,server,,,,,output_tokens_per_s,3000,tokens/s
h,MLCommons,h100_sxm_80gb,,8,llama2_70b,fp8,offline,,,,,output_tokens_per_s,3000,tokens/s
i,page,groq_lpu_v1,,,llama2_70b,,per_user_decode,,,,,output_tokens_per_s_per_user,300,tokens/s/user
j,` + docs + `,h200_sxm_141gb,,8,llama3.1_405b,fp8,max_throughput,1000,1000,,,output_tokens_per_s,3000,tokens/s
k,` + docs + `,h200_sxm_141gb,,1,no_such,fp8,max_throughput,1000,1000,1,,output_tokens_per_s,3000,tokens/s
l,` + docs + `,h200_sxm_141gb,,1,llama3.1_8b,UINT4,max_throughput,1000,1000,1,,output_tokens_per_s,3000,tokens/s
`
	rep := report(t, map[string]string{"inference_published": inferenceHeader + rows}, Options{SkipUnknown: true})
	var got []string
	for _, r := range rep.Rows() {
		text := r.Cells[0] + " " + r.Status.String()
		if r.Reason != "" {
			reason, _, _ := strings.Cut(r.Reason, " (")
			text += ": " + reason
		}
		got = append(got, text)
	}
	want := strings.Split(`a ok
b ok
c ok
d ok
e ok
f failed: out of memory: stage 0 holds 406.4 GB on each chip
g skipped: server: requests that come at random need a simulation of serving
h skipped: offline: the row does not say how long requests are, which differ
i skipped: per_user_decode: batch, context or way of spreading the model are not in the row
j skipped: the row does not say how 8 chips share the model
k skipped: no model no_such
l skipped: precision "UINT4" is not described`, "\n")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	all := rep.Rows()
	if a := all[0]; a.Target != 100 || all[2].Predicted != a.Predicted/2 {
		t.Errorf("target %g us, one chip %g us, two chips with a copy each %g us", a.Target, a.Predicted, all[2].Predicted)
	}
	// Longer answers leave room for fewer requests, but a prompt serves more tokens; a smaller, slower memory is slower.
	if !(all[3].Predicted > 1.1*all[0].Predicted) {
		t.Errorf("%g us on H200, %g us on H100", all[0].Predicted, all[3].Predicted)
	}
	// A token of the 8B model has 16 Gflop in products, of the prompt as many: no chip of 1979 Tflop/s takes less than 16 us.
	for _, r := range all[:4] {
		if r.Predicted < 16 && r != all[2] {
			t.Errorf("%s: %g us a token", r.Cells[0], r.Predicted)
		}
	}
}
