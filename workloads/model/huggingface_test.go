package model

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"maru/arch/dtype"
	"maru/workloads/plan"
)

func readConfig(t testing.TB, name string) (path string, data []byte) {
	t.Helper()
	path = filepath.Join("testdata", "huggingface", name+".json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, data
}

// TestHuggingFace imports published configurations; where a model is built in
// too, both must agree.
func TestHuggingFace(t *testing.T) {
	tests := []struct {
		name    string
		builtIn bool
		params  int64
		source  string
	}{
		{"llama-3.1-8b", true, 8_030_261_248, ""},
		{"mixtral-8x7b", true, 46_702_792_704, ""},
		{"qwen2.5-7b", true, 7_615_616_512, ""},
		{"qwen3-8b", true, 8_190_735_360, ""},
		{"gpt2", true, 124_439_808, ""},
		{"opt-13b", true, 12_853_473_280, ""},
		{"vit-b-16", true, 86_567_656, ""},
		{"resnet-50", true, 25_557_032, ""},
		{"deepseek-v3", true, 671_026_419_200, ""},
		{"whisper-large-v3", true, 1_543_490_560, ""},
		{"whisper-large-v3-turbo", false, 808_878_080, "huggingface.co/openai/whisper-large-v3-turbo: 809M"},
		{"mistral-7b", false, 7_241_732_096, "huggingface.co/mistralai/Mistral-7B-v0.1: 7.24B"},
		{"gpt-neox-20b", false, 20_554_567_680, "arXiv 2204.06745, section 2.1: 20,554,567,680 parameters"},
		{"bert-large", false, 335_174_458, "huggingface.co/google-bert/bert-large-uncased as BertForMaskedLM: 335M"},
		{"bert-large-model", false, 335_141_888, "as BertModel"},
	}
	for _, tt := range tests {
		path, _ := readConfig(t, tt.name)
		m := load(t, path)
		if got := m.Params(); got != tt.params {
			t.Errorf("%s: %d parameters, want %d %s", tt.name, got, tt.params, tt.source)
		}
		if m.Name != tt.name || m.File != path {
			t.Errorf("%s: name %q, file %q", tt.name, m.Name, m.File)
		}
		if tt.builtIn {
			ignore := cmpopts.IgnoreFields(Model{}, "Name", "File", "Title", "Sources")
			head := cmpopts.IgnoreFields(Decoder{}, "PositionRows")
			fill := func(m *Model) *Model { // defaults
				if d := m.Decoder; d != nil {
					d.HeadDim, d.KVHeads = d.headDim(), d.kvHeads()
				}
				return m
			}
			if diff := cmp.Diff(fill(load(t, tt.name)), fill(m), ignore, head); diff != "" {
				t.Errorf("%s: built in and imported differ (-built in +imported):\n%s", tt.name, diff)
			}
		}
		for _, phase := range phases(m) {
			build(t, m, plan.Plan{Phase: phase, Batch: 1, Seq: 16, Layers: min(m.Layers(), 2)})
		}
	}
}

// TestHuggingFaceFolder loads the config.json of a folder, which names the model.
func TestHuggingFaceFolder(t *testing.T) {
	_, data := readConfig(t, "gpt2")
	dir := filepath.Join(t.TempDir(), "my-model")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if m := load(t, dir); m.Name != "my-model" {
		t.Errorf("name %q, want my-model", m.Name)
	}
	t.Chdir(dir)
	if m := load(t, "config.json"); m.Name != "my-model" {
		t.Errorf("name %q, want my-model", m.Name)
	}
}

func TestHuggingFaceErrors(t *testing.T) {
	tests := []struct{ config, old, new, want string }{
		{"gpt2", `"GPT2LMHeadModel"`, `"GPT5LMHeadModel"`, `config.json:3:20: architectures: unknown architecture "GPT5LMHeadModel"; allowed is one of BertForMaskedLM, BertModel,`},
		{"gpt2", `"GPT2LMHeadModel"`, `"GPT5LMHeadModel"`, "did you mean GPT2LMHeadModel"},
		{"gpt2", `["GPT2LMHeadModel"]`, `[]`, "architectures: not a list of one name"},
		{"gpt2", `["GPT2LMHeadModel"]`, `3`, "architectures: not a list of one name"},
		{"gpt2", `"architectures"`, `"architectuers"`, "architectures: missing key"},
		{"gpt2", `"n_embd": 768`, `"n_embd": 768.5`, "n_embd: 768.5 is not a whole number; allowed is a whole number from 1 to 1000000"},
		{"gpt2", `"n_embd": 768`, `"n_embd": "many"`, `n_embd: "many" is not a whole number`},
		{"gpt2", `"n_embd": 768`, `"n_embd": 0`, "n_embd: 0 is out of bounds"},
		{"gpt2", `"n_embd": 768`, `"n_embd": 99999999999`, "n_embd: 99999999999 is out of bounds"},
		{"gpt2", `"n_embd": 768,`, ``, "n_embd: missing key"},
		{"gpt2", `"n_embd": 768`, `"n_embd": null`, "n_embd: missing key"},
		{"gpt2", `"n_head": 12`, `"n_head": 7`, "config.json:10:13: n_head: 7 heads do not divide a hidden width of 768"},
		{"gpt2", `"gelu_new"`, `"mish"`, `activation_function: unknown function "mish"; allowed is one of gelu, gelu_fast, gelu_new,`},
		{"gpt2", `"gelu_new"`, `12`, `activation_function: unknown function ""`},
		{"gpt2", `"vocab_size": 50257`, `"tie_word_embeddings": "yes", "vocab_size": 50257`, `tie_word_embeddings: "yes" is not true or false`},
		{"gpt2", `"vocab_size": 50257`, `"tie_word_embeddings": 1, "vocab_size": 50257`, `tie_word_embeddings: 1 is not true or false`},
		{"gpt2", `"vocab_size": 50257`, `"vocab_size": 50257, "n_embd": 4`, "n_embd: duplicate key"},
		{"gpt2", `"vocab_size": 50257`, `"vocab_size": 50257]`, "config.json:"},
		{"llama-3.1-8b", `"num_key_value_heads": 8`, `"num_key_value_heads": 5`, "num_key_value_heads: 32 heads do not share 5 key/value heads evenly"},
		{"mixtral-8x7b", `"num_experts_per_tok": 2`, `"num_experts_per_tok": 9`, "num_experts_per_tok: each token visits 9 of 8 experts"},
		{"qwen2.5-7b", `"use_sliding_window": false`, `"use_sliding_window": true`, "use_sliding_window: windows in some of the layers are not modelled; allowed is false"},
		{"opt-13b", `"do_layer_norm_before": true`, `"do_layer_norm_before": false`, "do_layer_norm_before: normalization after each part is not modelled"},
		{"opt-13b", `"word_embed_proj_dim": 5120`, `"word_embed_proj_dim": 512`, "embeddings of width 512 are projected to 5120"},
		{"vit-b-16", `"patch_size": 16`, `"patch_size": 17`, "patch_size: patches of 17 do not divide an image of 224"},
		{"vit-b-16", `"qkv_bias": true`, `"qkv_bias": false`, "qkv_bias: projections without bias are not modelled"},
		{"resnet-50", `"bottleneck"`, `"basic"`, `layer_type: "basic" is not modelled; allowed is "bottleneck"`},
		{"resnet-50", `"depths": [3, 4, 6, 3]`, `"depths": [3, 4, 6]`, "hidden_sizes: 3 stages and 4 widths"},
		{"resnet-50", `"depths": [3, 4, 6, 3]`, `"depths": [3, 4, 6, 0]`, "depths: 0 is out of bounds"},
		{"resnet-50", `"depths": [3, 4, 6, 3]`, `"depths": "3"`, "depths: not a list of whole numbers"},
		{"resnet-50", `"depths": [3, 4, 6, 3], `, ``, "depths: missing key"},
		{"resnet-50", `"id2label": {`, `"id2label": 3, "x": {`, "id2label: not a mapping of labels"},
	}
	for _, tt := range tests {
		_, data := readConfig(t, tt.config)
		changed := bytes.Replace(data, []byte(tt.old), []byte(tt.new), 1)
		if bytes.Equal(changed, data) {
			t.Fatalf("%s: nothing to replace: %s", tt.config, tt.old)
		}
		if _, err := ParseHuggingFace("config.json", changed); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %s: got error %v\nwant one with %s", tt.config, tt.new, err, tt.want)
		}
	}
	for _, text := range []string{"", "[]", "3", "null", "{", "architectures: [GPT2LMHeadModel]", `{"architectures": ["GPT2LMHeadModel"], 'n_head': 3}`} {
		if _, err := ParseHuggingFace("config.json", []byte(text)); err == nil || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%q: got error %v, want one with the name of the file", text, err)
		}
	}
}

// FuzzHuggingFace checks that no configuration crashes the importer or the
// builder, and that what is imported can be built or is refused.
func FuzzHuggingFace(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "huggingface", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal("no configurations", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 4096 { // long label lists only slow the fuzzer down
			f.Add(data)
		}
	}
	f.Add([]byte(`{"architectures":["ResNetForImageClassification"],"depths":[3,4],"embedding_size":64,"hidden_sizes":[256,512],"num_labels":3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseHuggingFace("config.json", data)
		if err != nil {
			return
		}
		if m.Params() <= 0 || m.ActiveParams() > m.Params() {
			t.Errorf("%d parameters, %d active", m.Params(), m.ActiveParams())
		}
		for _, phase := range phases(m) {
			if m.ResNet != nil && len(m.ResNet.Stages) > 4 || m.ResNet != nil && m.ResNet.Stages[0] > 10 {
				continue
			}
			g, err := Build(m, plan.Plan{Phase: phase, Batch: 1, Seq: 4, DType: dtype.BF16, Layers: min(m.Layers(), 2)})
			if err == nil && g.Flops() <= 0 {
				t.Errorf("%s: no work", phase)
			}
		}
	})
}
