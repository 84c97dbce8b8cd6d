// Package model turns descriptions of networks into operator graphs.
//
// A description is a YAML file of sizes (those of configs/models are built in),
// a config.json as Hugging Face publishes it, or a single operator written on
// one line. [Build] makes the graph of one phase: every operator that the
// network has, none fused, projections of queries, keys and values apart. What
// is fused, converted or tiled is the compiler's choice.
//
// Modelled: decoders (grouped-query or latent attention, rotary or learned
// positions, mixtures of experts), BERT and ViT encoders, bottleneck ResNets;
// prefill, decode, a full forward pass, and a training step with backward pass
// and Adam. Of Whisper, of the denoising networks of Stable Diffusion XL and DiT,
// and of DLRM a forward pass; of latent attention everything but training.
//
// Not modelled: values; dropout; the sharing of work between chips; sequences of
// different lengths in one batch; recomputation of activations in training;
// expert loads that differ (rows are spread evenly); the rolling buffer of a
// sliding-window cache (it is kept whole). Indices are int32.
//
// Floor 2.
package model

import (
	"fmt"
	"strings"
)

// Model is a network's description. Exactly one of the sections is set.
type Model struct {
	Name string // "llama-3.1-8b", or the path it was read from
	File string // file the sizes came from

	Title   string            `yaml:"title" doc:"The name for people."`
	Decoder *Decoder          `yaml:"decoder,optional" doc:"A language model that attends to the left."`
	Encoder *Encoder          `yaml:"encoder,optional" doc:"A text encoder as BERT is."`
	ViT     *ViT              `yaml:"vit,optional" doc:"A vision transformer."`
	ResNet  *ResNet           `yaml:"resnet,optional" doc:"A residual network of bottleneck blocks."`
	Seq2Seq *Seq2Seq          `yaml:"seq2seq,optional" doc:"An encoder and a decoder of text as T5 is."`
	Speech  *Speech           `yaml:"speech,optional" doc:"An encoder of sound and a decoder of text as Whisper is."`
	UNet    *UNet             `yaml:"unet,optional" doc:"A U-Net that removes noise, as that of Stable Diffusion XL."`
	DiT     *DiT              `yaml:"dit,optional" doc:"A transformer that removes noise."`
	DLRM    *DLRM             `yaml:"dlrm,optional" doc:"A recommendation model of embeddings and perceptrons."`
	Sources map[string]string `yaml:"sources" doc:"Where the sizes come from: a name and a text for each source."`
}

// Sections lists the keys of a description of which there is exactly one, each
// for a kind of network.
func Sections() []string {
	return []string{"decoder", "encoder", "vit", "resnet", "seq2seq", "speech", "unet", "dit", "dlrm"}
}

// Blocks are the sizes that all transformers have.
type Blocks struct {
	Layers  int   `yaml:"layers" bound:"1..10000" doc:"Blocks."`
	Hidden  int64 `yaml:"hidden" bound:"1..1000000" doc:"Width of the residual stream."`
	Heads   int64 `yaml:"heads" bound:"1..100000" doc:"Query heads."`
	HeadDim int64 `yaml:"head_dim,optional" bound:"1..100000" doc:"Width of a head; hidden/heads if it is missing."`
	Inter   int64 `yaml:"inter" bound:"1..10000000" doc:"Width inside the feed-forward part (of one expert)."`
}

// Decoder is a decoder-only language model.
type Decoder struct {
	Blocks
	KVHeads      int64 `yaml:"kv_heads,optional" bound:"1..100000" doc:"Key/value heads; heads if it is missing."`
	Vocab        int64 `yaml:"vocab" bound:"1..100000000" doc:"Rows of the embedding table."`
	MaxPositions int64 `yaml:"max_positions" bound:"1..1000000000" doc:"Longest context."`

	Norm         string `yaml:"norm" enum:"rmsnorm,layernorm" doc:"Normalization."`
	Activation   string `yaml:"activation" enum:"silu,gelu,relu" doc:"Function inside the feed-forward part."`
	Gated        bool   `yaml:"gated,optional" doc:"The function's result is multiplied with a second projection (GLU)."`
	Positions    string `yaml:"positions" enum:"rope,learned" doc:"How positions enter."`
	PositionRows int64  `yaml:"position_rows,optional" bound:"1..1000000000" doc:"Rows of the table of learned positions; max_positions if it is missing."`
	Window       int64  `yaml:"window,optional" bound:"1..1000000000" doc:"Keys that a query sees, itself among them; all if it is missing."`

	QKVBias  bool `yaml:"qkv_bias,optional" doc:"Query, key and value projections have a bias."`
	OutBias  bool `yaml:"out_bias,optional" doc:"The attention's output projection has a bias."`
	MLPBias  bool `yaml:"mlp_bias,optional" doc:"The projections of the feed-forward part have a bias."`
	QKNorm   bool `yaml:"qk_norm,optional" doc:"Each head's queries and keys are normalized."`
	Tied     bool `yaml:"tied_embeddings,optional" doc:"The output projection is the embedding table."`
	Parallel bool `yaml:"parallel_residual,optional" doc:"Attention and feed-forward part read the same residual stream."`

	Experts int64 `yaml:"experts,optional" bound:"2..100000" doc:"Experts of each block; none if it is missing."`
	TopK    int64 `yaml:"top_k,optional" bound:"1..100000" doc:"Experts that each token visits."`

	SharedExperts int64 `yaml:"shared_experts,optional" bound:"1..1000" doc:"Experts besides, of the same width, that every token visits."`
	RouterBias    bool  `yaml:"router_bias,optional" doc:"The experts' scores have a bias."`
	DenseLayers   int   `yaml:"dense_layers,optional" bound:"1..10000" doc:"First blocks, which have no experts."`
	DenseInter    int64 `yaml:"dense_inter,optional" bound:"1..10000000" doc:"Width inside the feed-forward part of these; inter if it is missing."`

	KVRank   int64 `yaml:"kv_rank,optional" bound:"1..1000000" doc:"Width of the latent that keys and values are made of, which is what the cache holds; no latent attention if it is missing."`
	QRank    int64 `yaml:"q_rank,optional" bound:"1..1000000" doc:"Width of the latent that queries are made of; they are projected at once if it is missing."`
	RopeDim  int64 `yaml:"rope_dim,optional" bound:"2..100000" doc:"Rotated elements of a head besides head_dim, of latent attention; all heads share those of the keys."`
	ValueDim int64 `yaml:"value_dim,optional" bound:"1..100000" doc:"Width of a head's values, of latent attention; head_dim if it is missing."`
}

// Encoder is a text encoder in the order of BERT: normalization after each
// residual, biases everywhere, gelu.
type Encoder struct {
	Blocks
	Vocab        int64  `yaml:"vocab" bound:"1..100000000" doc:"Rows of the embedding table."`
	MaxPositions int64  `yaml:"max_positions" bound:"1..1000000000" doc:"Longest sequence."`
	TokenTypes   int64  `yaml:"token_types" bound:"1..1000000" doc:"Rows of the table of token types."`
	Head         string `yaml:"head" enum:"none,pooler,mlm" doc:"What follows the last block: nothing, the pooler, or the masked-language head (tied to the embedding table)."`
}

// ViT is a vision transformer: a class token, learned positions, normalization
// before each part, biases everywhere, gelu, a classifier on the class token.
type ViT struct {
	Blocks
	Image    int64 `yaml:"image" bound:"1..100000" doc:"Height and width of the image."`
	Patch    int64 `yaml:"patch" bound:"1..100000" doc:"Height and width of a patch."`
	Channels int64 `yaml:"channels" bound:"1..100000" doc:"Channels of the image."`
	Classes  int64 `yaml:"classes" bound:"1..100000000" doc:"Classes of the classifier."`
}

// ResNet is a residual network of bottleneck blocks (He et al., arXiv
// 1512.03385), stem and classifier included.
type ResNet struct {
	Image     int64   `yaml:"image" bound:"1..100000" doc:"Height and width of the image."`
	Channels  int64   `yaml:"channels" bound:"1..100000" doc:"Channels of the image."`
	Stem      int64   `yaml:"stem" bound:"1..100000" doc:"Channels after the first convolution."`
	Stages    []int64 `yaml:"stages" bound:"1..1000" doc:"Blocks in each stage."`
	Widths    []int64 `yaml:"widths" bound:"1..1000000" doc:"Channels that each stage puts out."`
	Reduction int64   `yaml:"reduction" bound:"1..1000" doc:"Channels put out for each channel of the 3x3 convolution."`
	StrideIn3 bool    `yaml:"stride_in_3x3" doc:"The 3x3 convolution steps (version 1.5); otherwise the first 1x1."`
	DownFirst bool    `yaml:"downsample_first,optional" doc:"The first stage steps too."`
	Classes   int64   `yaml:"classes" bound:"1..100000000" doc:"Classes of the classifier."`
}

// report takes a problem with the value at a key, and what is allowed there.
type report func(key, problem, allowed string)

// check finds what the bounds of single values cannot: contradictions.
func (m *Model) check(bad report) {
	sections := 0
	if d := m.Decoder; d != nil {
		sections++
		d.check(bad)
	}
	if e := m.Encoder; e != nil {
		sections++
		e.Blocks.check("encoder.", bad)
		positive("encoder.", bad, size{"vocab", e.Vocab}, size{"max_positions", e.MaxPositions}, size{"token_types", e.TokenTypes})
	}
	if v := m.ViT; v != nil {
		sections++
		v.Blocks.check("vit.", bad)
		positive("vit.", bad, size{"image", v.Image}, size{"patch", v.Patch}, size{"channels", v.Channels}, size{"classes", v.Classes})
		if v.Patch > 0 && v.Image%v.Patch != 0 {
			bad("vit.patch", fmt.Sprintf("patches of %d do not divide an image of %d", v.Patch, v.Image), "allowed is a divisor of image")
		}
	}
	if r := m.ResNet; r != nil {
		sections++
		r.check(bad)
	}
	if m.Seq2Seq != nil {
		sections++
		m.Seq2Seq.check(bad)
	}
	if m.Speech != nil {
		sections++
		m.Speech.check(bad)
	}
	if m.UNet != nil {
		sections++
		m.UNet.check(bad)
	}
	if m.DiT != nil {
		sections++
		m.DiT.check(bad)
	}
	if m.DLRM != nil {
		sections++
		m.DLRM.check(bad)
	}
	if m.estimate() > maxParams {
		bad("", "more parameters than can be counted", "allowed is up to 10^17")
	}
	if sections != 1 {
		bad("", fmt.Sprintf("%d network sections", sections), "allowed is exactly one of "+strings.Join(Sections(), ", "))
	}
}

// size is a key and its value.
type size struct {
	key   string
	value int64
}

// positive reports the sizes that are below 1.
func positive(prefix string, bad report, sizes ...size) {
	for _, s := range sizes {
		if s.value < 1 {
			bad(prefix+s.key, fmt.Sprintf("%d is out of bounds", s.value), "allowed is 1 or more")
		}
	}
}

func (b *Blocks) check(prefix string, bad report) {
	positive(prefix, bad, size{"layers", int64(b.Layers)}, size{"hidden", b.Hidden}, size{"heads", b.Heads}, size{"inter", b.Inter},
		size{"head_dim", b.headDim()})
	if b.Heads > 0 && b.HeadDim == 0 && b.Hidden%b.Heads != 0 {
		bad(prefix+"heads", fmt.Sprintf("%d heads do not divide a hidden width of %d", b.Heads, b.Hidden), "allowed is a divisor of hidden, or head_dim besides")
	}
}

func (d *Decoder) check(bad report) {
	const p = "decoder."
	d.Blocks.check(p, bad)
	positive(p, bad, size{"vocab", d.Vocab}, size{"max_positions", d.MaxPositions})
	if kv := d.kvHeads(); kv > 0 && d.Heads%kv != 0 {
		bad(p+"kv_heads", fmt.Sprintf("%d heads do not share %d key/value heads evenly", d.Heads, kv), "allowed is a divisor of heads")
	}
	if d.Experts > 0 && (d.TopK < 1 || d.TopK > d.Experts) {
		bad(p+"top_k", fmt.Sprintf("each token visits %d of %d experts", d.TopK, d.Experts), "allowed is 1 to experts")
	}
	if d.Experts == 0 && d.TopK > 0 {
		bad(p+"top_k", "there are no experts to choose from", "allowed only together with experts")
	}
	if d.Experts > 0 && d.MLPBias {
		bad(p+"mlp_bias", "experts with a bias are not modelled", "allowed is false")
	}
	d.checkExperts(bad)
	d.checkLatent(bad)
	if d.Positions == "rope" && d.headDim()%2 != 0 {
		bad(p+"head_dim", fmt.Sprintf("rotary positions on heads of width %d", d.headDim()), "allowed is an even number")
	}
	if d.Positions == "rope" && d.PositionRows > 0 {
		bad(p+"position_rows", "rotary positions have no table", "allowed only with positions: learned")
	}
}

func (r *ResNet) check(bad report) {
	const p = "resnet."
	positive(p, bad, size{"image", r.Image}, size{"channels", r.Channels}, size{"stem", r.Stem}, size{"reduction", r.Reduction},
		size{"classes", r.Classes})
	for _, n := range r.Stages {
		positive(p, bad, size{"stages", n})
	}
	for _, n := range r.Widths {
		positive(p, bad, size{"widths", n})
	}
	const maxStages = 100
	if len(r.Stages) == 0 || len(r.Stages) > maxStages {
		bad(p+"stages", fmt.Sprintf("%d stages", len(r.Stages)), fmt.Sprintf("allowed are 1 to %d, the number of blocks in each", maxStages))
	}
	if len(r.Stages) != len(r.Widths) {
		bad(p+"widths", fmt.Sprintf("%d stages and %d widths", len(r.Stages), len(r.Widths)), "allowed is one width for each stage")
	}
	for _, w := range r.Widths {
		if r.Reduction > 0 && w%r.Reduction != 0 {
			bad(p+"widths", fmt.Sprintf("width %d is not divisible by reduction %d", w, r.Reduction), "allowed are multiples of reduction")
		}
	}
}

// maxParams bounds the number of parameters, far inside int64.
const maxParams = 1e17

// estimate is roughly the number of parameters, in floating point, where it
// does not overflow.
func (m *Model) estimate() float64 {
	blocks := func(b *Blocks, vocab, experts int64) float64 {
		h := float64(b.Hidden)
		return float64(float64(b.Layers)*(float64(4*h*float64(b.Heads)*float64(b.headDim()))+float64(3*h*float64(b.Inter)*float64(max(experts, 1))))) + float64(2*h*float64(vocab))
	}
	switch {
	case m.Decoder != nil:
		d := m.Decoder
		return blocks(&d.Blocks, d.Vocab+d.positionRows(), d.Experts+d.SharedExperts) +
			float64(float64(d.Layers)*float64(d.Hidden)*float64(3*d.DenseInter+d.QRank+d.KVRank+d.RopeDim)) +
			float64(float64(d.Layers)*float64(d.Heads)*float64(d.headDim()+d.RopeDim+d.valueDim())*float64(d.Hidden+d.QRank+d.KVRank))
	case m.Encoder != nil:
		return blocks(&m.Encoder.Blocks, m.Encoder.Vocab+m.Encoder.MaxPositions, 1)
	case m.ViT != nil:
		v := m.ViT
		return blocks(&v.Blocks, v.Classes, 1) + float64(float64(v.Hidden)*float64(v.Patch)*float64(v.Patch)*float64(v.Channels)) +
			float64(float64(v.Hidden)*float64(v.Image)*float64(v.Image))
	case m.Seq2Seq != nil:
		s := m.Seq2Seq
		both := s.Blocks
		both.Layers = m.Layers()
		return 3 * blocks(&both, s.Vocab, max(1, s.Experts))
	case m.Speech != nil:
		s := m.Speech
		both := s.Blocks
		both.Layers = m.Layers()
		return 3 * blocks(&both, s.Vocab+s.Frames+s.MaxPositions+3*(s.Mels+s.Hidden), 1)
	case m.DiT != nil:
		d := m.DiT
		return float64(3*blocks(&d.Blocks, d.Classes+d.Frequencies+d.Hidden, 1)) + float64(float64(d.Hidden)*float64(d.Latent)*float64(d.Latent)) +
			float64(float64(d.Hidden)*float64(d.Patch)*float64(d.Patch)*float64(d.Channels+d.OutChannels))
	case m.UNet != nil:
		return m.UNet.estimate()
	case m.DLRM != nil:
		return m.DLRM.estimate()
	}
	return 0
}

func (b *Blocks) headDim() int64 {
	if b.HeadDim > 0 {
		return b.HeadDim
	}
	return b.Hidden / max(b.Heads, 1)
}

func (d *Decoder) kvHeads() int64 {
	if d.KVHeads > 0 {
		return d.KVHeads
	}
	return d.Heads
}

func (d *Decoder) positionRows() int64 {
	switch {
	case d.Positions != "learned":
		return 0
	case d.PositionRows > 0:
		return d.PositionRows
	}
	return d.MaxPositions
}

// Layers is the number of repeated blocks; 0 for a network without. Of encoder and
// decoder it is that of the longer one.
func (m *Model) Layers() int {
	switch {
	case m.Decoder != nil:
		return m.Decoder.Layers
	case m.Encoder != nil:
		return m.Encoder.Layers
	case m.ViT != nil:
		return m.ViT.Layers
	case m.Seq2Seq != nil:
		return max(m.Seq2Seq.Layers, m.Seq2Seq.decoderLayers())
	case m.Speech != nil:
		return max(m.Speech.Layers, m.Speech.decoderLayers())
	case m.DiT != nil:
		return m.DiT.Layers
	}
	return 0
}

// Params is the number of parameters, those shared between layers counted once.
// Running statistics are no parameters. A test holds the closed form against the
// weights of the graph.
func (m *Model) Params() int64 {
	switch {
	case m.Decoder != nil:
		return m.Decoder.params(m.Decoder.Experts)
	case m.Encoder != nil:
		return m.Encoder.params()
	case m.ViT != nil:
		return m.ViT.params()
	case m.ResNet != nil:
		return m.ResNet.params()
	case m.Seq2Seq != nil:
		return m.Seq2Seq.params(m.Seq2Seq.Experts)
	case m.Speech != nil:
		return m.Speech.params()
	case m.UNet != nil:
		return m.UNet.params()
	case m.DiT != nil:
		return m.DiT.params()
	case m.DLRM != nil:
		return m.DLRM.params()
	}
	return 0
}

// ActiveParams is the number of parameters that one token uses: Params less the
// experts that it does not visit.
func (m *Model) ActiveParams() int64 {
	if d := m.Decoder; d != nil {
		return d.params(d.TopK)
	}
	if s := m.Seq2Seq; s != nil {
		return s.params(s.topK())
	}
	return m.Params()
}

// linear is the parameters of a linear layer.
func linear(in, out int64, bias bool) int64 {
	n := in * out
	if bias {
		n += out
	}
	return n
}

// norm is the parameters of a normalization.
func norm(fn string, width int64) int64 {
	if fn == "rmsnorm" {
		return width
	}
	return 2 * width
}

// params counts the parameters with so many experts in each block (0: dense).
func (d *Decoder) params(experts int64) int64 {
	hd := d.headDim()
	q, kv := d.Heads*hd, d.kvHeads()*hd
	block := 2 * norm(d.Norm, d.Hidden)
	if d.KVRank > 0 {
		block += d.latentParams()
	} else {
		block += linear(d.Hidden, q, d.QKVBias) + 2*linear(d.Hidden, kv, d.QKVBias) + linear(q, d.Hidden, d.OutBias)
	}
	if d.QKNorm {
		block += 2 * norm(d.Norm, hd)
	}
	part := func(inter int64) int64 {
		n := linear(d.Hidden, inter, d.MLPBias) + linear(inter, d.Hidden, d.MLPBias)
		if d.Gated {
			n += linear(d.Hidden, inter, d.MLPBias)
		}
		return n
	}
	mlp, dense := part(d.Inter), int64(0)
	if d.Experts > 0 {
		mlp = (experts+d.SharedExperts)*mlp + linear(d.Hidden, d.Experts, d.RouterBias)
		dense = int64(d.DenseLayers)
	}
	n := int64(d.Layers)*block + (int64(d.Layers)-dense)*mlp + dense*part(d.denseInter()) + norm(d.Norm, d.Hidden) + d.Vocab*d.Hidden + d.positionRows()*d.Hidden
	if !d.Tied {
		n += d.Vocab * d.Hidden
	}
	return n
}

// params of a block with biases everywhere and two layernorms.
func (b *Blocks) params() int64 {
	q := b.Heads * b.headDim()
	return int64(b.Layers) * (4*b.Hidden + 3*linear(b.Hidden, q, true) + linear(q, b.Hidden, true) +
		linear(b.Hidden, b.Inter, true) + linear(b.Inter, b.Hidden, true))
}

func (e *Encoder) params() int64 {
	n := e.Blocks.params() + (e.Vocab+e.MaxPositions+e.TokenTypes)*e.Hidden + 2*e.Hidden
	switch e.Head {
	case "pooler":
		n += linear(e.Hidden, e.Hidden, true)
	case "mlm":
		n += linear(e.Hidden, e.Hidden, true) + 2*e.Hidden + e.Vocab
	}
	return n
}

// patches is the number of patches of an image.
func (v *ViT) patches() int64 {
	side := v.Image / v.Patch
	return side * side
}

func (v *ViT) params() int64 {
	return v.Blocks.params() + linear(v.Channels*v.Patch*v.Patch, v.Hidden, true) + v.Hidden + // class token
		(v.patches()+1)*v.Hidden + 2*v.Hidden + linear(v.Hidden, v.Classes, true)
}

func (r *ResNet) params() int64 {
	n := r.Channels*r.Stem*49 + 2*r.Stem
	in := r.Stem
	for i, blocks := range r.Stages {
		out := r.Widths[i]
		mid := out / r.Reduction
		for j := range blocks {
			n += in*mid + 2*mid + mid*mid*9 + 2*mid + mid*out + 2*out
			if r.projected(i, j, in) {
				n += in*out + 2*out
			}
			in = out
		}
	}
	return n + linear(in, r.Classes, true)
}

// stride of block j of stage i.
func (r *ResNet) stride(i int, j int64) int64 {
	if j == 0 && (i > 0 || r.DownFirst) {
		return 2
	}
	return 1
}

// projected reports whether the shortcut of a block is a convolution.
func (r *ResNet) projected(i int, j, in int64) bool {
	return r.stride(i, j) != 1 || in != r.Widths[i]
}
