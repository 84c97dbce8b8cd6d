package validate

import (
	"strings"
	"testing"
)

const trainingHeader = "paper,model,layers,hidden,heads,kv_heads,ffn,seq,vocab,system,dtype,tp,pp,dp,cp,dp_mode,gpus,microbatch,global_batch,recompute,interleave,seq_parallel,iter_time_s,tflops_per_gpu,source\n"

// Rows of training at scale are predicted on the system that has their chips, with what is open of the plan searched.
func TestTraining(t *testing.T) {
	rows := `a,gpt_s,8,1024,16,16,4096,1024,51200,a100_sxm_80gb_dgx_hdr,fp16,2,2,2,1,ddp,8,1,16,full,1,0,0.2,,arXiv 2104.04473 table
a,gpt_s,8,1024,16,16,4096,1024,51200,a100_sxm_80gb_dgx_hdr,fp16,2,2,2,1,ddp,8,,16,,,,0.2,,arXiv 2104.04473 table
b,llama_s,8,1024,16,4,2816,1024,32000,h100_somewhere,bf16,1,1,8,1,fsdp_full_shard,8,1,16,none,1,0,,200,elsewhere
c,gpt_s,8,1024,16,16,4096,1024,51200,no_such_chip,fp16,2,2,2,1,ddp,8,1,16,full,1,0,0.2,,elsewhere
d,gpt_s,8,1024,16,16,4096,1024,51200,a100_sxm_80gb_dgx_hdr,fp16,2,2,3,1,ddp,8,1,16,full,1,0,0.2,,arXiv 2104.04473 table
`
	rep := report(t, map[string]string{"training": trainingHeader + rows}, Options{})
	all := rep.Rows()
	for i, want := range []Status{OK, OK, OK, Skipped, Failed} {
		if all[i].Status != want {
			t.Errorf("row %d: %v (%s), want %v", i, all[i].Status, all[i].Reason, want)
		}
	}
	if all[0].Harness != "training-megatron" || all[0].Reason != "" || all[0].Target != 0.2e6 {
		t.Errorf("a stated plan: harness %s, target %g us, %q", all[0].Harness, all[0].Target, all[0].Reason)
	}
	if !(all[1].Predicted < all[0].Predicted) || !strings.HasPrefix(all[1].Reason, "searched: microbatch ") {
		t.Errorf("an open plan takes %g us, the stated one %g; %q", all[1].Predicted, all[0].Predicted, all[1].Reason)
	}
	// 6 operations for each parameter and token, and the scores.
	flops := 6.0 * 16 * 1024 * (8*(2*1024*1024+2*1024*256+3*1024*2816) + 1024*32000)
	flops += 12.0 * 16 * 1024 * 1024 * 1024 * 8
	if got, want := all[2].Target, flops/(200e12*8)*1e6; got/want > 1.001 || got/want < 0.999 {
		t.Errorf("the time of a rate is %g us, want %g", got, want)
	}
	if !strings.Contains(all[4].Reason, "12 chips, not the 8 given") {
		t.Errorf("degrees that do not multiply: %q", all[4].Reason)
	}
}

// A layer over several chips is the sum of its operators, and of its sums over chips.
func TestLayer(t *testing.T) {
	const header = "source,system,dtype,model,phase,batch,seq,layers,hidden,heads,ffn,vocab,ranks,parallelism,global_batch,fused,op,latency_us\n"
	var rows strings.Builder
	ops := append(append([]string{"layer_total"}, shared...), sums...)
	for _, op := range ops {
		rows.WriteString("llmcompass:figure5/ijkl,a100_sxm,fp16,gpt_layer,prefill,1,256,1,1024,16,4096,0,4,tp4,1,0," + op + ",100\n")
	}
	all := report(t, map[string]string{"model": header + rows.String()}, Options{}).Rows()
	var sum float64
	for _, row := range all[1:] {
		if row.Status != OK {
			t.Fatalf("%s: %s", row.Variant, row.Reason)
		}
		sum += row.Predicted
	}
	if total := all[0].Predicted; total/sum > 1.0001 || total/sum < 0.9999 {
		t.Errorf("a layer of %g us, its operators take %g", total, sum)
	}
}
