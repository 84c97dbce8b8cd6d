package validate

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const collectiveHeader = "source,system,dtype,kind,algo,ranks,nodes,topology,bytes,latency_us\n"

// Rows of every source are predicted on the system that has their chips and links, in the way that the harness says.
func TestCollective(t *testing.T) {
	rows := `aic:x/comm/nccl/2,h100_sxm,fp16,all_reduce,nccl,8,1,nvlink4_switch,1048576,25
aic:x/comm/nccl/2,H100-SXM,fp16,all_gather,nccl,2,1,nvlink4_switch,1048576,12
aic:x/comm/nccl/2,h200_sxm,int8,reduce_scatter,nccl,8,1,other_links,1048576,15
aic:x/comm/nccl/2,a100_sxm,fp16,alltoall,nccl,4,1,nvlink3_switch,1048576,20
aic:x/comm/trtllm/1.3,h100_sxm,bf16,all_reduce,trtllm_custom,8,1,nvlink4_switch,1024,3
aic:x/comm/trtllm/1.3,h100_sxm,bf16,all_reduce,trtllm_custom,8,1,nvlink4_switch,1048576,25
aic:x/comm/trtllm/1.3,h100_sxm,bf16,all_reduce,trtllm_custom,6,1,nvlink4_switch,1024,3
vidur:h100_dgx/all_reduce,h100_80gb,fp16,all_reduce,nccl,8,2,ib_inter_node,1048576,100
vidur:h100_dgx/send_recv,h100_80gb,fp16,send_recv,nccl,2,2,ib_inter_node,8388608,250
vidur:a100_dgx/send_recv,a100_80gb,fp16,send_recv,nccl,2,2,ib_inter_node,8388608,1100
vidur:a100_pairwise_nvlink/send_recv,a100_80gb,fp16,send_recv,nccl,2,2,ib_inter_node,8388608,3700
aic:x/comm/trtllm/1.3,gb200,bf16,all_reduce,trtllm_custom,4,1,nvlink5_switch,4194304,27
aic:x/comm/nccl/2,mi300x,fp16,all_reduce,nccl,8,1,nvlink4_switch,1024,20
`
	rep := report(t, map[string]string{"collective": collectiveHeader + rows}, Options{})
	var got []string
	for _, row := range rep.Rows() {
		text := row.Harness + ", " + row.Variant + ", " + row.Size + ", " + row.Status.String()
		if row.Reason != "" {
			text += ": " + row.Reason
		}
		got = append(got, text)
	}
	want := strings.Split(`aic-nccl, all_reduce 8, 1 MB and more, ok
aic-nccl, all_gather 2, 1 MB and more, ok
aic-nccl, reduce_scatter 8, 1 MB and more, ok
aic-nccl, alltoall 4, 1 MB and more, ok
aic-allreduce-trtllm, all_reduce 8, 1 kB and more, ok
aic-allreduce-trtllm, all_reduce 8, 1 MB and more, ok
aic-allreduce-trtllm, all_reduce 6, 1 kB and more, skipped: allreduce of trtllm_custom among 6 chips is not described
vidur-collective, all_reduce 8, 1 MB and more, ok: below the 4 MB from which rows of vidur-collective count
vidur-collective, send_recv 2, 1 MB and more, ok
vidur-collective, send_recv 2, 1 MB and more, ok
vidur-collective-pairs, send_recv 2, 1 MB and more, ok
aic-allreduce-trtllm-blackwell, all_reduce 4, 1 MB and more, ok
aic-nccl, all_reduce 8, 1 kB and more, skipped: no system has mi300x by nvlink4_switch`, "\n")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	all := rep.Rows()
	// NCCL's own time above the size of the engine's kernel, the engine's below it.
	if all[5].Predicted != all[0].Predicted || all[4].Predicted > 5 {
		t.Errorf("all-reduces of an engine take %g and %g us, NCCL's %g", all[4].Predicted, all[5].Predicted, all[0].Predicted)
	}
	// What one source calls by one name are three networks of 25, 50 and 10 GB/s, of which long messages reach a part.
	for i, gbps := range map[int]float64{8: 47, 9: 6.75, 10: 2.4} {
		if got := 8.388608e3 / all[i].Predicted; got > gbps || got < 0.8*gbps {
			t.Errorf("row %d: %.2f GB/s, want a little less than %g", i, got, gbps)
		}
	}
	// What is too short to count is predicted, but no error is made of it.
	if g := rep.Files()[0]; all[7].Predicted <= 0 || g.Apart != 1 || g.All.Rows+g.Skipped+g.Apart != len(all) {
		t.Errorf("%d rows: %d with errors, %d skipped, %d apart", len(all), g.All.Rows, g.Skipped, g.Apart)
	}
	if sizes := rep.Sizes(); len(sizes) == 0 || sizes[0].Variant != "1 kB and more" {
		t.Errorf("errors by size: %+v", sizes)
	}
	// What more links do shows in the rows.
	for _, bad := range []string{"library.nothing=1", "library.none.hop=1 us"} {
		if _, err := Run(folder(map[string]string{"collective": collectiveHeader + rows}), Options{Name: "data", Set: []string{bad}}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	// One system lacks this protocol; it is left as it is.
	report(t, map[string]string{"collective": collectiveHeader + rows + "llmcompass:figure5/h,a100_sxm,fp16,all_reduce,nccl,4,1,nvlink3_fc4,1024,13\n"},
		Options{Set: []string{"library.ll128.share=0.9"}})
	more := report(t, map[string]string{"collective": collectiveHeader + rows}, Options{Set: []string{"scale_up.link.sustained=1"}})
	if a, b := all[2].Predicted, more.Rows()[2].Predicted; !(b < a) {
		t.Errorf("%g us with links that reach their peak, %g without", b, a)
	}
}

func TestDecade(t *testing.T) {
	for bytes, want := range map[int64]string{1: "1 B and more", 9: "1 B and more", 10: "10 B and more", 999: "100 B and more", 1000: "1 kB and more",
		1 << 20: "1 MB and more", 536870912: "100 MB and more", 1 << 40: "1 TB and more", math.MaxInt64: "100 TB and more"} {
		if got := decade(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}
