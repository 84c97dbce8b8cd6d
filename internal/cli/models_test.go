package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"maru/arch"
	"maru/studies/validate"
	"maru/workloads/compile"
)

// modelPages are the pages of docs/models, as paths in the repository, and what
// is written on all of them.
func modelPages(t *testing.T) (names []string, text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, "docs/models/*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages in docs/models: %v", err)
	}
	var all strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, "docs/models/"+filepath.Base(f))
		all.Write(data)
	}
	return names, all.String()
}

// TestModelKeys holds docs/models to the keys of a chip that decide a
// prediction, in both directions, and to the library profiles.
func TestModelKeys(t *testing.T) {
	_, pages := modelPages(t)
	var b strings.Builder
	chipKeys(&b, "", reflect.TypeFor[arch.Chip](), true)
	sections := regexp.MustCompile(`^(clock|cores|memory|launch|jitter|power|dies)\.`)
	var keys []string
	for _, row := range strings.Split(b.String(), "\n") {
		cells := strings.Split(row, "`")
		if len(cells) < 3 || !sections.MatchString(cells[1]) {
			continue
		}
		key := strings.TrimSuffix(cells[1], ".FORMAT")
		keys = append(keys, key)
		if !strings.Contains(row, "| section |") && !strings.Contains(pages, "`"+key+"`") {
			t.Errorf("no page of docs/models says what %s does", key)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z][a-z0-9_.]*)[=`]").FindAllStringSubmatch(pages, -1) {
		if key := m[1]; sections.MatchString(key) && !strings.HasSuffix(key, ".go") && !slices.Contains(keys, key) {
			t.Errorf("docs/models names %s, which is no key of a chip", key)
		}
	}
	for _, name := range compile.Profiles() {
		if !strings.Contains(pages, "`"+name+"`") {
			t.Errorf("no page of docs/models says what profile %s stands for", name)
		}
	}
}

// TestHarnessKeys holds docs/models/launch.md to the keys of a harness file.
func TestHarnessKeys(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "docs/models/launch.md"))
	if err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[validate.Harness]().Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key != "" && !strings.Contains(string(page), "`"+key+"`") {
			t.Errorf("docs/models/launch.md does not say what %s of a harness does", key)
		}
	}
}

// TestLinks finds what documents, and comments in the code, refer to.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	pages := []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "docs/models/*.md"} {
		files, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name, err := filepath.Rel(repository, f)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, name)
		}
	}
	exists := func(from, name string) {
		if _, err := os.Stat(filepath.Join(repository, name)); err != nil {
			t.Errorf("%s refers to %s, which does not exist", from, name)
		}
	}
	for _, page := range pages {
		data, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			exists(page, filepath.Join(filepath.Dir(page), m[1]))
		}
	}
	page := regexp.MustCompile(`docs/[a-z/]+\.md`)
	err := filepath.WalkDir(repository, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, name := range page.FindAllString(string(data), -1) {
			exists(path, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ablationData are made-up measurements, one for each table, system and format:
// no figure here was taken on a chip.
var ablationData = map[string]func(system string) string{
	"gemm": func(s string) string {
		text := "source,system,dtype,op,batch,m,n,k,quant_us,latency_us\n"
		for _, format := range map[string][]string{
			"h100_sxm": {"bf16", "fp8", "fp8_block", "fp32"},
			"gb200":    {"bf16", "fp8", "fp8_block", "nvfp4"},
			"a100_sxm": {"bf16", "int8_sq", "int8_wo", "int4_wo"},
		}[s] {
			text += fmt.Sprintf("aic:%s/gemm/trtllm/1.3.0,%s,%s,linear,1,64,512,512,,9\n", s, s, format)
		}
		return text
	},
	"attention_prefill": func(s string) string {
		return "source,system,dtype,kv_dtype,batch,heads,kv_heads,head_dim,seq_q,seq_kv,causal,window,latency_us\n" +
			fmt.Sprintf("aic:%s/attention/trtllm/1.3.0,%s,bf16,bf16,1,8,2,128,256,256,1,0,30\n", s, s)
	},
	"attention_decode": func(s string) string {
		return "source,system,dtype,kv_dtype,batch,heads,kv_heads,head_dim,seq_q,seq_kv,causal,window,latency_us\n" +
			fmt.Sprintf("aic:%s/attention/trtllm/1.3.0,%s,bf16,bf16,4,8,2,128,1,257,1,0,12\n", s, s)
	},
	"moe": func(s string) string {
		return "source,system,dtype,kernel,tokens,hidden,inter,topk,experts,moe_tp,moe_ep,gated,routing,latency_us\n" +
			fmt.Sprintf("aic:%s/moe/trtllm/1.3.0,%s,bf16,a_kernel,32,512,256,2,8,2,2,1,balanced,40\n", s, s)
	},
	"pointwise": func(s string) string {
		return "source,system,dtype,op,rows,cols,read_bytes,write_bytes,latency_us\n" +
			fmt.Sprintf("vidur:%s/a-model,%s,fp16,rmsnorm,64,4096,524288,524288,4\n", s, s)
	},
}

// TestAblations runs what docs/models/ablate.sh runs, on tables of a few rows.
func TestAblations(t *testing.T) {
	if testing.Short() {
		t.Skip("runs some dozen commands")
	}
	t.Chdir(repository)
	data, err := os.ReadFile("docs/models/ablate.sh")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, line := range strings.Split(string(data), "\n") {
		args, err := words(line)
		if err != nil || len(args) == 0 || args[0] != "ablate" {
			continue
		}
		if len(args) < 6 {
			t.Errorf("%s: a name, a table, systems, formats and flags are expected", line)
			continue
		}
		file, flags := args[2], args[5:]
		of := ablationData[file]
		if of == nil {
			t.Errorf("%s: no data for table %s", line, file)
			continue
		}
		for _, system := range strings.Split(args[3], ",") {
			dir := t.TempDir()
			writeBlock(t, filepath.Join(dir, file+".csv"), strings.Split(strings.TrimSpace(of(system)), "\n"))
			_, errs, code := call(append([]string{"validate", "--data", dir, "--files", file, "--system", system, "--json", "-"}, flags...)...)
			if code != exitOK {
				t.Errorf("%s: exit code %d on %s: %s", line, code, system, errs)
			}
		}
		ran++
	}
	if ran == 0 {
		t.Error("docs/models/ablate.sh has no ablations")
	}
}
