package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"maru/internal/config"
)

// architectures are the classes of Hugging Face Transformers that can be
// imported, each with the function that reads its configuration.
var architectures = map[string]func(h *huggingFace) *Model{
	"LlamaForCausalLM":                (*huggingFace).llama,
	"MistralForCausalLM":              (*huggingFace).mistral,
	"MixtralForCausalLM":              (*huggingFace).mixtral,
	"Qwen2ForCausalLM":                (*huggingFace).qwen2,
	"Qwen3ForCausalLM":                (*huggingFace).qwen3,
	"DeepseekV3ForCausalLM":           (*huggingFace).deepseekV3,
	"WhisperForConditionalGeneration": (*huggingFace).whisper,
	"GPT2LMHeadModel":                 (*huggingFace).gpt2,
	"OPTForCausalLM":                  (*huggingFace).opt,
	"GPTNeoXForCausalLM":              (*huggingFace).gptNeoX,
	"BertModel":                       (*huggingFace).bertModel,
	"BertForMaskedLM":                 (*huggingFace).bertMaskedLM,
	"ViTForImageClassification":       (*huggingFace).vit,
	"ResNetForImageClassification":    (*huggingFace).resnet,
}

// Architectures lists the values of "architectures" in a config.json that can be
// imported, sorted.
func Architectures() []string {
	var names []string
	for n := range architectures {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// huggingFace reads the keys of a config.json and collects what is wrong. What
// it does not ask for (training settings, token ids, rope scaling, quantization)
// has no part in shapes and is passed over.
type huggingFace struct {
	doc    *config.Doc
	fields map[string]json.RawMessage
	errs   config.Errors
	keys   map[string]string // keys of Model, and those of the file they came from
}

// ParseHuggingFace reads a config.json as Hugging Face Transformers writes it; file
// is its name for messages. Keys that are missing have the default of the
// Transformers library where it does not depend on the model; those that decide
// the size of the network are required. The error is a config.Errors.
func ParseHuggingFace(file string, data []byte) (*Model, error) {
	doc, err := config.Load(config.Source{Name: file, Data: data}, nil)
	if err != nil {
		return nil, err
	}
	h := &huggingFace{doc: doc, keys: map[string]string{}}
	if err := json.Unmarshal(data, &h.fields); err != nil {
		return nil, config.Errors{doc.Error("", "not a JSON object: "+err.Error(), "allowed is a config.json of Hugging Face Transformers", "")}
	}
	build := h.architecture()
	if build == nil {
		return nil, h.errs.Err()
	}
	m := build(h)
	m.Name, m.File = baseName(file), file
	m.Title = m.Name
	m.Sources = map[string]string{"config": file}
	if len(h.errs) == 0 {
		m.check(func(key, problem, allowed string) {
			if k, ok := h.keys[key[strings.IndexByte(key, '.')+1:]]; ok {
				key = k
			}
			h.bad(key, problem, allowed, "")
		})
	}
	if err := h.errs.Err(); err != nil {
		return nil, err
	}
	return m, nil
}

func (h *huggingFace) bad(key, problem, allowed, hint string) {
	h.errs = append(h.errs, h.doc.Error(key, problem, allowed, hint))
}

func (h *huggingFace) architecture() func(h *huggingFace) *Model {
	const key = "architectures"
	allowed := "allowed is one of " + strings.Join(Architectures(), ", ")
	raw, ok := h.get(key)
	if !ok {
		h.bad(key, "missing key", allowed, "")
		return nil
	}
	var names []string
	if err := json.Unmarshal(raw, &names); err != nil || len(names) != 1 {
		h.bad(key, "not a list of one name", allowed, "")
		return nil
	}
	build, ok := architectures[names[0]]
	if !ok {
		h.bad(key, fmt.Sprintf("unknown architecture %q", names[0]), allowed, config.Suggest(names[0], Architectures()))
		return nil
	}
	return build
}

// get returns a value that is there and not null.
func (h *huggingFace) get(key string) (json.RawMessage, bool) {
	raw, ok := h.fields[key]
	return raw, ok && string(raw) != "null"
}

// whole returns a required whole number from 1 to highest; name is the key of
// Model that it is for.
func (h *huggingFace) whole(key, name string, highest int64) int64 {
	return h.wholeOr(key, name, highest, 0)
}

// wholeOr is whole with a default; 0 makes it required, and -1 is 0.
func (h *huggingFace) wholeOr(key, name string, highest, missing int64) int64 {
	h.keys[name] = key
	raw, ok := h.get(key)
	allowed := fmt.Sprintf("allowed is a whole number from 1 to %d", highest)
	if !ok {
		switch missing {
		case 0:
			h.bad(key, "missing key", allowed, "")
			return 1
		case -1:
			return 0
		}
		return missing
	}
	v, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		h.bad(key, fmt.Sprintf("%s is not a whole number", cut(raw)), allowed, "")
		return 1
	}
	if v < 1 || v > highest {
		h.bad(key, fmt.Sprintf("%d is out of bounds", v), allowed, "")
		return 1
	}
	return v
}

// cut shortens a value for a message.
func cut(raw json.RawMessage) string {
	const most = 40
	s := strings.ToValidUTF8(string(raw), "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// list returns a required list of whole numbers from 1 to highest.
func (h *huggingFace) list(key, name string, highest int64) []int64 {
	h.keys[name] = key
	allowed := fmt.Sprintf("allowed is a list of whole numbers from 1 to %d", highest)
	raw, ok := h.get(key)
	if !ok {
		h.bad(key, "missing key", allowed, "")
		return nil
	}
	var v []int64
	if err := json.Unmarshal(raw, &v); err != nil {
		h.bad(key, "not a list of whole numbers", allowed, "")
		return nil
	}
	for _, n := range v {
		if n < 1 || n > highest {
			h.bad(key, fmt.Sprintf("%d is out of bounds", n), allowed, "")
			return nil
		}
	}
	return v
}

// truth returns a boolean.
func (h *huggingFace) truth(key string, missing bool) bool {
	raw, ok := h.get(key)
	if !ok {
		return missing
	}
	v, err := strconv.ParseBool(string(raw))
	if err != nil || len(raw) < 4 { // "true" and "false" only
		h.bad(key, cut(raw)+" is not true or false", "allowed is true or false", "")
	}
	return v
}

// must checks that a boolean has the only value that is modelled.
func (h *huggingFace) must(key string, want bool, why string) {
	if h.truth(key, want) != want {
		h.bad(key, why, fmt.Sprintf("allowed is %v", want), "")
	}
}

// activations are the names that Transformers has for the functions of Model.
var activations = map[string]string{
	"silu": "silu", "swish": "silu", "relu": "relu", "gelu": "gelu", "gelu_new": "gelu", "gelu_fast": "gelu",
	"gelu_python": "gelu", "gelu_pytorch_tanh": "gelu",
}

// activation returns the function of a key, one of allowed.
func (h *huggingFace) activation(key, missing string, allowed ...string) string {
	name := missing
	if raw, ok := h.get(key); ok {
		if err := json.Unmarshal(raw, &name); err != nil {
			name = ""
		}
	}
	if fn, ok := activations[name]; ok && slices.Contains(allowed, fn) {
		return fn
	}
	var names []string
	for n, fn := range activations {
		if slices.Contains(allowed, fn) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	h.bad(key, fmt.Sprintf("unknown function %q", name), "allowed is one of "+strings.Join(names, ", "), config.Suggest(name, names))
	return allowed[0]
}

// Highest values of sizes.
const (
	mostLayers    = 10_000
	mostHidden    = 1_000_000
	mostHeads     = 100_000
	mostInter     = 10_000_000
	mostVocab     = 100_000_000
	mostPositions = 1_000_000_000
)

// blocks reads the sizes under the keys that most configurations use.
func (h *huggingFace) blocks() Blocks {
	return Blocks{
		Layers:  int(h.whole("num_hidden_layers", "layers", mostLayers)),
		Hidden:  h.whole("hidden_size", "hidden", mostHidden),
		Heads:   h.whole("num_attention_heads", "heads", mostHeads),
		HeadDim: h.wholeOr("head_dim", "head_dim", mostHeads, -1),
		Inter:   h.whole("intermediate_size", "inter", mostInter),
	}
}

// gatedDecoder reads what the descendants of Llama have in common.
func (h *huggingFace) gatedDecoder() *Decoder {
	return &Decoder{
		Blocks:       h.blocks(),
		KVHeads:      h.wholeOr("num_key_value_heads", "kv_heads", mostHeads, -1),
		Vocab:        h.whole("vocab_size", "vocab", mostVocab),
		MaxPositions: h.whole("max_position_embeddings", "max_positions", mostPositions),
		Norm:         "rmsnorm",
		Activation:   h.activation("hidden_act", "silu", "silu", "gelu"),
		Gated:        true,
		Positions:    "rope",
		Tied:         h.truth("tie_word_embeddings", false),
	}
}

func (h *huggingFace) llama() *Model {
	d := h.gatedDecoder()
	bias := h.truth("attention_bias", false)
	d.QKVBias, d.OutBias = bias, bias
	d.MLPBias = h.truth("mlp_bias", false)
	return &Model{Decoder: d}
}

func (h *huggingFace) mistral() *Model {
	d := h.gatedDecoder()
	d.KVHeads = h.whole("num_key_value_heads", "kv_heads", mostHeads)
	d.Window = h.wholeOr("sliding_window", "window", mostPositions, -1)
	return &Model{Decoder: d}
}

func (h *huggingFace) mixtral() *Model {
	m := h.mistral()
	m.Decoder.Experts = h.whole("num_local_experts", "experts", mostHeads)
	m.Decoder.TopK = h.whole("num_experts_per_tok", "top_k", mostHeads)
	return m
}

func (h *huggingFace) qwen2() *Model {
	d := h.gatedDecoder()
	d.KVHeads = h.whole("num_key_value_heads", "kv_heads", mostHeads)
	d.QKVBias = true
	h.must("use_sliding_window", false, "windows in some of the layers are not modelled")
	return &Model{Decoder: d}
}

func (h *huggingFace) qwen3() *Model {
	m := h.qwen2()
	d := m.Decoder
	d.HeadDim = h.whole("head_dim", "head_dim", mostHeads)
	bias := h.truth("attention_bias", false)
	d.QKVBias, d.OutBias, d.QKNorm = bias, bias, true
	return m
}

// deepseekV3: scores by sigmoid and groups of experts are counted as a softmax
// over all of them; the block that predicts a second token is left out.
func (h *huggingFace) deepseekV3() *Model {
	d := &Decoder{
		Blocks: Blocks{
			Layers:  int(h.whole("num_hidden_layers", "layers", mostLayers)),
			Hidden:  h.whole("hidden_size", "hidden", mostHidden),
			Heads:   h.whole("num_attention_heads", "heads", mostHeads),
			HeadDim: h.whole("qk_nope_head_dim", "head_dim", mostHeads),
			Inter:   h.whole("moe_intermediate_size", "inter", mostInter),
		},
		KVHeads:       h.wholeOr("num_key_value_heads", "kv_heads", mostHeads, -1),
		Vocab:         h.whole("vocab_size", "vocab", mostVocab),
		MaxPositions:  h.whole("max_position_embeddings", "max_positions", mostPositions),
		Norm:          "rmsnorm",
		Activation:    h.activation("hidden_act", "silu", "silu", "gelu"),
		Gated:         true,
		Positions:     "rope",
		Tied:          h.truth("tie_word_embeddings", false),
		Experts:       h.whole("n_routed_experts", "experts", mostHeads),
		TopK:          h.whole("num_experts_per_tok", "top_k", mostHeads),
		SharedExperts: h.wholeOr("n_shared_experts", "shared_experts", 1000, -1),
		RouterBias:    true,
		DenseLayers:   int(h.wholeOr("first_k_dense_replace", "dense_layers", mostLayers, -1)),
		KVRank:        h.whole("kv_lora_rank", "kv_rank", mostHidden),
		QRank:         h.wholeOr("q_lora_rank", "q_rank", mostHidden, -1),
		RopeDim:       h.whole("qk_rope_head_dim", "rope_dim", mostHeads),
		ValueDim:      h.whole("v_head_dim", "value_dim", mostHeads),
	}
	if inter := h.whole("intermediate_size", "dense_inter", mostInter); d.DenseLayers > 0 {
		d.DenseInter = inter
	}
	h.must("attention_bias", false, "latent attention with biases is not modelled")
	if n := h.wholeOr("moe_layer_freq", "moe_layer_freq", mostLayers, 1); n != 1 {
		h.bad("moe_layer_freq", fmt.Sprintf("experts in each %d blocks are not modelled", n), "allowed is 1", "")
	}
	return &Model{Decoder: d}
}

func (h *huggingFace) whisper() *Model {
	h.activation("activation_function", "gelu", "gelu")
	s := &Speech{
		Blocks: Blocks{
			Layers: int(h.whole("encoder_layers", "layers", mostLayers)),
			Hidden: h.whole("d_model", "hidden", mostHidden),
			Heads:  h.whole("encoder_attention_heads", "heads", mostHeads),
			Inter:  h.whole("encoder_ffn_dim", "inter", mostInter),
		},
		Mels:         h.whole("num_mel_bins", "mels", 10_000),
		Frames:       h.wholeOr("max_source_positions", "frames", mostHidden, 1500),
		Vocab:        h.whole("vocab_size", "vocab", mostVocab),
		MaxPositions: h.wholeOr("max_target_positions", "max_positions", mostPositions, 448),
	}
	if n := int(h.whole("decoder_layers", "decoder_layers", mostLayers)); n != s.Layers {
		s.DecoderLayers = n
	}
	for _, same := range [...]size{{"decoder_attention_heads", s.Heads}, {"decoder_ffn_dim", s.Inter}} {
		if got := h.whole(same.key, same.key, mostInter); got != same.value {
			h.bad(same.key, fmt.Sprintf("%d, and %d of the encoder, which is not modelled", got, same.value), "allowed is that of the encoder", "")
		}
	}
	return &Model{Speech: s}
}

func (h *huggingFace) gpt2() *Model {
	d := &Decoder{
		Blocks: Blocks{
			Layers: int(h.whole("n_layer", "layers", mostLayers)),
			Hidden: h.whole("n_embd", "hidden", mostHidden),
			Heads:  h.whole("n_head", "heads", mostHeads),
		},
		Vocab:        h.whole("vocab_size", "vocab", mostVocab),
		MaxPositions: h.whole("n_positions", "max_positions", mostPositions),
		Norm:         "layernorm",
		Activation:   h.activation("activation_function", "gelu_new", "gelu", "relu", "silu"),
		Positions:    "learned",
		QKVBias:      true, OutBias: true, MLPBias: true,
		Tied: h.truth("tie_word_embeddings", true),
	}
	d.Inter = h.wholeOr("n_inner", "inter", mostInter, 4*d.Hidden)
	return &Model{Decoder: d}
}

func (h *huggingFace) opt() *Model {
	d := &Decoder{
		Blocks: Blocks{
			Layers: int(h.whole("num_hidden_layers", "layers", mostLayers)),
			Hidden: h.whole("hidden_size", "hidden", mostHidden),
			Heads:  h.whole("num_attention_heads", "heads", mostHeads),
			Inter:  h.whole("ffn_dim", "inter", mostInter),
		},
		Vocab:        h.whole("vocab_size", "vocab", mostVocab),
		MaxPositions: h.whole("max_position_embeddings", "max_positions", mostPositions),
		Norm:         "layernorm",
		Activation:   h.activation("activation_function", "relu", "relu", "gelu", "silu"),
		Positions:    "learned",
		Tied:         h.truth("tie_word_embeddings", true),
	}
	d.PositionRows = d.MaxPositions + 2 // two rows are left for padding
	bias := h.truth("enable_bias", true)
	d.QKVBias, d.OutBias, d.MLPBias = bias, bias, bias
	h.must("do_layer_norm_before", true, "normalization after each part is not modelled")
	h.must("_remove_final_layer_norm", false, "a network without final normalization is not modelled")
	h.must("layer_norm_elementwise_affine", true, "normalization without parameters is not modelled")
	if w := h.wholeOr("word_embed_proj_dim", "word_embed_proj_dim", mostHidden, d.Hidden); w != d.Hidden {
		h.bad("word_embed_proj_dim", fmt.Sprintf("embeddings of width %d are projected to %d, which is not modelled", w, d.Hidden), "allowed is the value of hidden_size", "")
	}
	return &Model{Decoder: d}
}

// gptNeoX: whole heads are rotated, whatever rotary_pct says; the bytes are the
// same.
func (h *huggingFace) gptNeoX() *Model {
	bias := h.truth("attention_bias", true)
	return &Model{Decoder: &Decoder{
		Blocks:       h.blocks(),
		Vocab:        h.whole("vocab_size", "vocab", mostVocab),
		MaxPositions: h.whole("max_position_embeddings", "max_positions", mostPositions),
		Norm:         "layernorm",
		Activation:   h.activation("hidden_act", "gelu", "gelu", "relu", "silu"),
		Positions:    "rope",
		QKVBias:      bias, OutBias: bias, MLPBias: true,
		Tied:     h.truth("tie_word_embeddings", false),
		Parallel: h.truth("use_parallel_residual", true),
	}}
}

func (h *huggingFace) bert(head string) *Model {
	h.activation("hidden_act", "gelu", "gelu")
	return &Model{Encoder: &Encoder{
		Blocks:       h.blocks(),
		Vocab:        h.whole("vocab_size", "vocab", mostVocab),
		MaxPositions: h.whole("max_position_embeddings", "max_positions", mostPositions),
		TokenTypes:   h.whole("type_vocab_size", "token_types", mostHidden),
		Head:         head,
	}}
}

func (h *huggingFace) bertModel() *Model { return h.bert("pooler") }

func (h *huggingFace) bertMaskedLM() *Model {
	h.must("tie_word_embeddings", true, "a masked-language head of its own is not modelled")
	return h.bert("mlm")
}

// classes is the number of labels, 2 if there are none, as in Transformers.
func (h *huggingFace) classes() int64 {
	if raw, ok := h.get("id2label"); ok {
		var labels map[string]json.RawMessage
		if err := json.Unmarshal(raw, &labels); err != nil || len(labels) == 0 {
			h.bad("id2label", "not a mapping of labels", "allowed is a mapping of numbers to names", "")
		}
		return int64(len(labels))
	}
	return h.wholeOr("num_labels", "classes", mostVocab, 2)
}

func (h *huggingFace) vit() *Model {
	h.activation("hidden_act", "gelu", "gelu")
	h.must("qkv_bias", true, "projections without bias are not modelled")
	return &Model{ViT: &ViT{
		Blocks:   h.blocks(),
		Image:    h.whole("image_size", "image", mostHeads),
		Patch:    h.whole("patch_size", "patch", mostHeads),
		Channels: h.wholeOr("num_channels", "channels", mostHeads, 3),
		Classes:  h.classes(),
	}}
}

// resnet: the size of the image is not part of the configuration; it is that of
// ImageNet.
func (h *huggingFace) resnet() *Model {
	h.activation("hidden_act", "relu", "relu")
	layer := "bottleneck"
	if raw, ok := h.get("layer_type"); ok {
		if err := json.Unmarshal(raw, &layer); err != nil || layer != "bottleneck" {
			h.bad("layer_type", cut(raw)+" is not modelled", `allowed is "bottleneck"`, "")
		}
	}
	return &Model{ResNet: &ResNet{
		Image:     224,
		Channels:  h.wholeOr("num_channels", "channels", mostHeads, 3),
		Stem:      h.whole("embedding_size", "stem", mostHeads),
		Stages:    h.list("depths", "stages", 1000),
		Widths:    h.list("hidden_sizes", "widths", mostHidden),
		Reduction: 4,
		StrideIn3: !h.truth("downsample_in_bottleneck", false),
		DownFirst: h.truth("downsample_in_first_stage", false),
		Classes:   h.classes(),
	}}
}
