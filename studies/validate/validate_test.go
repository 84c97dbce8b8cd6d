package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"maru/internal/config"
)

// Made-up measurements: no figure here was taken on a chip.
const (
	gemmCSV = `source,system,dtype,op,batch,m,n,k,quant_us,latency_us
aic:h100_sxm/gemm/trtllm/1.3.0,h100_sxm,bf16,linear,1,64,1024,1024,,7
aic:h100_sxm/gemm/trtllm/1.3.0,h100_sxm,bf16,linear,1,4096,4096,1024,,60
aic:h100_sxm/gemm/trtllm/1.3.0,h100_sxm,fp8,linear,1,4096,4096,1024,10,45
aic:h100_sxm/gemm/trtllm/1.3.0,H100-SXM,fp8_block,linear,1,4096,4096,1024,,90
aic:a100_sxm/gemm/trtllm/1.0.0,a100_sxm,int8_wo,linear,1,16,4096,4096,,30
aic:a100_sxm/gemm/trtllm/1.0.0,a100_sxm,int8_sq,linear,1,16,4096,4096,,30
vidur:a100/a-model,a100_sxm,fp16,linear,1,128,4096,4096,,40
neusight:test/bmm,h100_sxm,fp32,bmm,4,128,128,128,,35
neusight:test/linear,h100_sxm,fp32,linear_bias,1,512,512,512,,50
somewhere else,h100_sxm,bf16,linear,1,64,1024,1024,,7
`
	prefillCSV = `source,system,dtype,kv_dtype,batch,heads,kv_heads,head_dim,seq_q,seq_kv,causal,window,latency_us
aic:h100_sxm/attention/trtllm/1.3.0,h100_sxm,bf16,bf16,1,8,2,128,512,512,1,0,30
aic:h100_sxm/attention/trtllm/1.3.0,h100_sxm,fp8,fp8,1,8,2,128,512,512,1,128,30
aic:a100_sxm/attention/sglang/0.5.0,a100_sxm,bf16,bf16,2,8,8,64,256,256,1,0,30
`
	decodeCSV = `source,system,dtype,kv_dtype,batch,heads,kv_heads,head_dim,seq_q,seq_kv,causal,window,latency_us
aic:h100_sxm/attention/trtllm/1.3.0,h100_sxm,bf16,fp8,4,8,2,128,1,1025,1,0,12
`
	moeCSV = `source,system,dtype,kernel,tokens,hidden,inter,topk,experts,moe_tp,moe_ep,gated,routing,latency_us
aic:h100_sxm/moe/trtllm/1.3.0,h100_sxm,bf16,a_kernel,32,512,256,2,8,2,2,1,balanced,40
aic:h100_sxm/moe/trtllm/1.3.0,h100_sxm,fp8,a_kernel,32,512,256,2,8,1,4,0,power_law_1.2,40
aic:a100_sxm/moe/sglang/0.5.0,a100_sxm,int4_wo,another,32,512,256,2,8,1,1,1,power_law_1.01,40
`
	pointwiseCSV = `source,system,dtype,op,rows,cols,read_bytes,write_bytes,latency_us
vidur:h100/a-model,h100_sxm,fp16,add3,64,2560,983040,327680,5
vidur:h100/a-model,h100_sxm,fp16,rmsnorm,64,4096,524288,524288,4
aic:h100_sxm/quantize/trtllm/1.3.0,h100_sxm,bf16,quantize_fp8_static,64,4096,524288,262144,3
neusight:test/elem,h100_sxm,fp32,tanh,1024,1024,4194304,4194304,30
`
	modelCSV = `source,system,dtype,model,phase,batch,seq,layers,hidden,heads,ffn,vocab,ranks,parallelism,global_batch,fused,op,latency_us
neusight:label,h100_sxm,fp32,gpt2_tiny,inference,2,128,2,256,4,1024,1000,1,none,2,0,e2e,2000
neusight:label,h100_sxm,fp32,gpt2_tiny,inference,2,128,2,256,4,1024,1000,1,none,2,1,e2e,2000
neusight:label,h100_sxm,fp32,gpt2_tiny,train,2,128,2,256,4,1024,1000,1,none,2,0,e2e,6000
neusight:label,h100_sxm,fp32,gpt2_tiny,train,2,128,2,256,4,1024,1000,1,none,2,0,forward,2000
neusight:label,h100_sxm,fp32,gpt2_tiny,train,2,128,2,256,4,1024,1000,1,none,2,0,backward,4000
neusight:label,h100_sxm,fp32,opt_tiny,inference,2,128,2,256,4,1024,1000,1,none,2,0,e2e,2000
neusight:label,h100_sxm,fp32,gpt2_tiny,train,2,128,2,256,4,1024,1000,4,tp4,2,0,e2e,2000
neusight:label,h100_sxm,fp32,switch_tiny,inference,2,128,2,256,4,1024,1000,1,none,2,0,e2e,2000
`
	systolicCSV = `case_id,op,array_rows,array_cols,dataflow,M,N,K,compute_cycles
one,gemm,16,16,ws,100,16,16,145
two,gemm,8,8,os,16,16,32,183
three,conv,8,8,is,16,16,16,151
`
	collectiveCSV = `source,system,dtype,kind,algo,ranks,nodes,topology,bytes,latency_us
aic:h100_sxm/comm/nccl/2,h100_sxm,fp16,all_reduce,nccl,8,1,switch,1024,20
`
)

func folder(files map[string]string) fstest.MapFS {
	fs := fstest.MapFS{}
	for name, text := range files {
		fs[name+".csv"] = &fstest.MapFile{Data: []byte(text)}
	}
	return fs
}

var everything = map[string]string{
	"gemm": gemmCSV, "attention_prefill": prefillCSV, "attention_decode": decodeCSV, "moe": moeCSV, "pointwise": pointwiseCSV,
	"model": modelCSV, "scalesim_cycles": systolicCSV, "collective": collectiveCSV,
}

func report(t *testing.T, files map[string]string, opt Options) *Report {
	t.Helper()
	opt.Name = "data"
	rep, err := Run(folder(files), opt)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func rowsOf(t *testing.T, rep *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := rep.WriteRows(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEveryTable(t *testing.T) {
	rep := report(t, everything, Options{Jobs: 2})
	want := map[string]map[string]int{
		"gemm": {"ok": 10}, "attention_prefill": {"ok": 3}, "attention_decode": {"ok": 1}, "moe": {"ok": 3}, "pointwise": {"ok": 4},
		"model": {"ok": 7, "skipped": 1}, "scalesim_cycles": {"ok": 3}, "collective": {"skipped": 1},
	}
	got := map[string]map[string]int{}
	for _, row := range rep.Rows() {
		if got[row.File] == nil {
			got[row.File] = map[string]int{}
		}
		got[row.File][row.Status.String()]++
		if row.Status == Failed {
			t.Errorf("%s:%d: %s", row.File, row.Line, row.Reason)
		}
		if row.Status == Skipped && row.Reason == "" {
			t.Errorf("%s:%d: skipped without a reason", row.File, row.Line)
		}
		if row.Status == OK && row.Harness != "vidur" && row.Predicted < row.Bound*(1-1e-9) {
			t.Errorf("%s:%d: predicted %g us, below the bound %g us", row.File, row.Line, row.Predicted, row.Bound)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows by status (-want +got):\n%s", d)
	}
	for _, g := range rep.Groups() {
		if g.File == "scalesim_cycles" && (g.All.Mean != 0 || g.All.Bias != 1) {
			t.Errorf("cycles of %s are not exact: %+v", g.Variant, g.All)
		}
	}
}

func TestOrderDoesNotDependOnJobs(t *testing.T) {
	want := rowsOf(t, report(t, everything, Options{Jobs: 1}))
	if d := cmp.Diff(want, rowsOf(t, report(t, everything, Options{Jobs: 4}))); d != "" {
		t.Errorf("rows (-one job +four):\n%s", d)
	}
}

func TestFolds(t *testing.T) {
	files := map[string]string{"gemm": gemmCSV, "pointwise": pointwiseCSV}
	all := len(report(t, files, Options{}).Rows())
	sum := 0
	part := map[string]int{}
	for k := 1; k <= Folds; k++ {
		rep := report(t, files, Options{Fold: k})
		sum += len(rep.Rows())
		for _, r := range rep.Rows() {
			part[fmt.Sprint(r.File, r.Line)] = k
		}
	}
	if sum != all || len(part) != all {
		t.Errorf("%d rows in the folds, %d of them different, %d in all", sum, len(part), all)
	}
	// Another measurement of the same is in the same fold.
	changed := strings.NewReplacer(",7\n", ",8\n", ",60\n", ",61\n", ",10,45\n", ",11,46\n").Replace(gemmCSV)
	for k := 1; k <= Folds; k++ {
		for _, r := range report(t, map[string]string{"gemm": changed}, Options{Fold: k}).Rows() {
			if part[fmt.Sprint(r.File, r.Line)] != k {
				t.Errorf("line %d moved to fold %d", r.Line, k)
			}
		}
	}
}

func TestFilters(t *testing.T) {
	rep := report(t, everything, Options{Files: []string{"pointwise", "gemm"}, System: []string{"A100-SXM"}})
	if len(rep.Tables) != 2 || len(rep.Rows()) != 3 {
		t.Errorf("%d tables with %d rows, want 2 with 3", len(rep.Tables), len(rep.Rows()))
	}
	for _, tt := range []struct{ files, want string }{
		{"gem", `unknown table "gem"; allowed: gemm, `},
		{"training", "data: no training.csv; there are gemm, "},
	} {
		_, err := Run(folder(everything), Options{Name: "data", Files: []string{tt.files}})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.files, err, tt.want)
		}
	}
	if _, err := Run(fstest.MapFS{}, Options{Name: "data"}); err == nil {
		t.Error("an empty folder is no error")
	}
	if _, err := Run(folder(everything), Options{Fold: 6}); err == nil {
		t.Error("fold 6 is no error")
	}
}

func TestUnknownSystem(t *testing.T) {
	files := map[string]string{"gemm": strings.ReplaceAll(gemmCSV, "h100_sxm,bf16", "x1000,bf16")}
	rep := report(t, files, Options{})
	if d := cmp.Diff([]string{"x1000"}, rep.Unknown); d != "" || rep.Count(Failed) != 3 {
		t.Errorf("%d failed rows; unknown (-want +got):\n%s", rep.Count(Failed), d)
	}
	rep = report(t, files, Options{SkipUnknown: true})
	if rep.Count(Failed) != 0 || rep.Count(Skipped) != 3 {
		t.Errorf("%d rows failed, %d were skipped", rep.Count(Failed), rep.Count(Skipped))
	}
}

// Faults in a table are all reported, each where it is.
func TestStrict(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		want             []string // position and path of each error
	}{
		{"empty", "gemm", "", []string{"data/gemm.csv:1:1: the file is empty"}},
		{"column", "gemm", strings.Replace(gemmCSV, ",k,", ",kk,", 1), []string{"data/gemm.csv:1:1: k: missing column"}},
		{"twice", "gemm", strings.Replace(gemmCSV, ",k,", ",k,k,", 1), []string{"data/gemm.csv:1:36: k: a second column"}},
		{"fields", "gemm", gemmCSV + "a,b\n", []string{"data/gemm.csv:12:1: 2 fields, the header has 10"}},
		{"quote", "gemm", gemmCSV + "a\"b,c\n", []string{"data/gemm.csv:12:2: "}},
		{
			"numbers", "gemm",
			"source,system,dtype,op,batch,m,n,k,quant_us,latency_us\n" +
				"aic:h/gemm/trtllm/1,h100_sxm,bf16,linear,1,1.5,0,x,,7\n" +
				"aic:h/gemm/trtllm/1,h100_sxm,bf17,lin,1,1,1,1,-1,inf\n" +
				"aic:h/gemm/trtllm/1,h100_sxm,bf16,linear,2,1,1,1,,7\n",
			[]string{
				`data/gemm.csv:2:44: m: "1.5" is not a whole number`, "data/gemm.csv:2:48: n: 0 is out of range", `data/gemm.csv:2:50: k: "x" is not a whole number`,
				`data/gemm.csv:3:30: dtype: unknown number format bf17`, `data/gemm.csv:3:35: op: "lin" is not allowed`,
				`data/gemm.csv:3:47: quant_us: "-1" is not a number`, `data/gemm.csv:3:50: latency_us: "inf" is not a number above 0`,
				"data/gemm.csv:4:42: batch: a linear with batch 2",
			},
		},
		{"heads", "attention_decode", strings.Replace(decodeCSV, ",8,2,128,", ",8,3,128,", 1), []string{"data/attention_decode.csv:2:59: kv_heads: 8 heads do not share 3"}},
		{"routing", "moe", strings.Replace(moeCSV, "balanced", "even", 1), []string{"data/moe.csv:2:75: routing: unknown routing even"}},
		{"ranks", "moe", strings.Replace(moeCSV, ",2,8,2,2,1,", ",2,8,3,3,1,", 1), []string{"data/moe.csv:2:69: moe_tp: 3 does not divide 256", "data/moe.csv:2:71: moe_ep: 3 does not divide 8"}},
		{"dataflow", "scalesim_cycles", strings.Replace(systolicCSV, ",ws,", ",rs,", 1), []string{`data/scalesim_cycles.csv:2:16: dataflow: "rs" is not allowed`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Run(folder(map[string]string{tt.file: tt.text}), Options{Name: "data"})
			var errs config.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("error %v, want a list with positions", err)
			}
			for i, e := range errs {
				if i >= len(tt.want) || !strings.HasPrefix(e.Error(), tt.want[i]) {
					t.Errorf("error %d: %v", i, e)
				}
			}
			if len(errs) < len(tt.want) {
				t.Errorf("%d errors, want %d", len(errs), len(tt.want))
			}
		})
	}
}

func TestRows(t *testing.T) {
	rep := report(t, map[string]string{"collective": collectiveCSV, "scalesim_cycles": systolicCSV}, Options{})
	want := `case_id,op,array_rows,array_cols,dataflow,M,N,K,compute_cycles,source,system,dtype,kind,algo,ranks,nodes,topology,bytes,latency_us,file,predicted_us,predicted_cycles,bound_us,status,reason
one,gemm,16,16,ws,100,16,16,145,,,,,,,,,,,scalesim_cycles,,145,,ok,
two,gemm,8,8,os,16,16,32,183,,,,,,,,,,,scalesim_cycles,,183,,ok,
three,conv,8,8,is,16,16,16,151,,,,,,,,,,,scalesim_cycles,,151,,ok,
,,,,,,,,,aic:h100_sxm/comm/nccl/2,h100_sxm,fp16,all_reduce,nccl,8,1,switch,1024,20,collective,,,,skipped,no system has h100_sxm by switch
`
	if d := cmp.Diff(want, rowsOf(t, rep)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	rep = report(t, map[string]string{"pointwise": pointwiseCSV}, Options{})
	first, _, _ := strings.Cut(rowsOf(t, rep), "\n")
	if want := "source,system,dtype,op,rows,cols,read_bytes,write_bytes,latency_us,predicted_us,bound_us,status,reason"; first != want {
		t.Errorf("header %s, want %s", first, want)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := report(t, map[string]string{"gemm": gemmCSV, "collective": collectiveCSV}, Options{MinUS: 20}).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal(b.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Rows != 11 || s.OK != 10 || s.Skipped != 1 || len(s.Files) != 2 || len(s.Groups) < 8 || len(s.Reasons) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestUncalibrated(t *testing.T) {
	rep := report(t, map[string]string{"gemm": gemmCSV}, Options{Uncalibrated: true})
	if rep.Count(OK) != 10 || len(rep.Uncalibrated["h100-sxm"]) == 0 {
		t.Errorf("%d rows predicted; %v", rep.Count(OK), rep.Uncalibrated)
	}
}

// Figures and libraries can be changed for all chips, to see what they contribute.
func TestAblation(t *testing.T) {
	tables := map[string]string{"gemm": gemmCSV}
	base := report(t, tables, Options{})
	slow := report(t, tables, Options{Set: []string{"memory.dram.bandwidth=100 GB/s"}})
	other := report(t, tables, Options{Library: "cutlass"})
	slower, differ := 0, 0
	for i, r := range base.Rows() {
		if r.Status != OK {
			continue
		}
		if slow.Rows()[i].Predicted > r.Predicted {
			slower++
		}
		if other.Rows()[i].Predicted != r.Predicted {
			differ++
		}
	}
	if slower < 5 || differ == 0 {
		t.Errorf("of 10 rows %d are slower with slow memory and %d differ with another library", slower, differ)
	}
	for set, want := range map[string]string{
		"memory.dram.bandwith=1 TB/s": "did you mean",
		"memory.dram.bandwidth=fast":  "memory.dram.bandwidth",
	} {
		_, err := Run(folder(tables), Options{Name: "data", Set: []string{set}, Jobs: 1})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", set, err, want)
		}
	}
}

// Where keys and values lie at the same addresses, decode attention reads them as
// if they did not, whatever the number of heads.
func TestOneCache(t *testing.T) {
	rep := report(t, map[string]string{"attention_decode": `source,system,dtype,kv_dtype,batch,heads,kv_heads,head_dim,seq_q,seq_kv,causal,window,latency_us
aic:a100_sxm/attention/trtllm/1.0.0,a100_sxm,bf16,bf16,8,32,8,128,1,2048,1,0,40
`}, Options{})
	if rep.Count(OK) != 1 {
		t.Error(rep.Reasons(Failed))
	}
}

func TestStats(t *testing.T) {
	row := func(target, predicted float64) *Row { return &Row{Target: target, Predicted: predicted} }
	got := statsOf([]*Row{row(100, 105), row(100, 50), row(10, 20), row(10, 11.5)})
	want := Stats{Rows: 4, Median: 0.325, Mean: (0.05 + 0.5 + 1 + 0.15) / 4, Bias: math.Pow(1.05*0.5*2*1.15, 0.25), Within10: 0.25, Within20: 0.5}
	for i, d := range []float64{got.Median - want.Median, got.Mean - want.Mean, got.Bias - want.Bias, got.Within10 - want.Within10, got.Within20 - want.Within20} {
		if math.Abs(d) > 1e-12 {
			t.Errorf("figure %d: got %+v, want %+v", i, got, want)
		}
	}
	if s := statsOf(nil); s.Rows != 0 || s.Mean != 0 {
		t.Errorf("of no rows: %+v", s)
	}
}

func TestSeries(t *testing.T) {
	for _, x := range []float64{1e-9, 0.01, 0.5, 0.7071, 0.9999, 1, 1.5, 2, 3.14, 1e3, 1e12} {
		if d := ln(x) - math.Log(x); math.Abs(d) > 1e-13*max(1, math.Abs(math.Log(x))) {
			t.Errorf("ln(%g) is off by %g", x, d)
		}
		for _, y := range []float64{-100, -1.2, -0.01, 0, 0.5, 7} {
			want := math.Pow(x, y)
			if want == 0 || math.IsInf(want, 0) || math.Abs(y*math.Log(x)) > 700 {
				continue
			}
			if d := pow(x, y)/want - 1; math.Abs(d) > 1e-12 {
				t.Errorf("%g to the %g is off by %g", x, y, d)
			}
		}
	}
}

// An operator of a layer on one of several chips is its share: the same as that
// of a layer with as many heads and columns as the chip has.
func TestShares(t *testing.T) {
	const head = "source,system,dtype,model,phase,batch,seq,layers,hidden,heads,ffn,vocab,ranks,parallelism,global_batch,fused,op,latency_us\n"
	predicted := func(row string) float64 {
		t.Helper()
		rows := report(t, map[string]string{"model": head + row}, Options{Jobs: 1}).Rows()
		if len(rows) != 1 || rows[0].Status != OK {
			t.Fatalf("%s: %+v", row, rows)
		}
		return rows[0].Predicted
	}
	source := "llmcompass:figure5/ijkl,a100_sxm,fp16,gpt3_layer"
	for op, flops := range map[string]float64{ // of one chip of four
		"q_k_v": 3 * 2 * 1024 * 2048 * 512, "wo_proj": 2 * 1024 * 512 * 2048, "w1_proj": 2 * 1024 * 2048 * 2048, "w2_proj": 2 * 1024 * 2048 * 2048,
		"q_mul_k": 2 * 8 * 512 * 512 * 128, "a_mul_v": 2 * 8 * 512 * 512 * 128, "softmax": 0, "layernorm_mha": 0, "layernorm_ffn": 0, "gelu": 0,
	} {
		us := predicted(fmt.Sprintf("%s,prefill,2,512,1,2048,16,8192,0,4,tp4,2,0,%s,100\n", source, op))
		if least := flops / 312e6; us < 21+least || us > 121+3*least {
			t.Errorf("%s takes %.1f us, of which the host 21 and its products at least %.1f", op, us, least)
		}
	}
	prefill := predicted(source + ",prefill,2,512,1,2048,16,8192,0,4,tp4,2,0,w1_proj,100\n")
	decode := predicted(source + ",decode,2,512,1,2048,16,8192,0,4,tp4,2,0,w1_proj,100\n")
	if decode >= prefill {
		t.Errorf("one position of two sequences takes %.1f us, 512 take %.1f", decode, prefill)
	}
}
