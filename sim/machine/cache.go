package machine

import (
	"encoding/binary"
	mathbits "math/bits"
	"slices"

	"maru/workloads/graph"
	"maru/workloads/trace"
)

// grain is how finely the cache looks at tensors: it holds aligned pieces, or
// blocks, of so many bytes and at most so many rows. It is independent of
// operator tiles, so data brought in by one kernel is found by the next
// whatever its tile shape.
type grain struct {
	bytes int64
	rows  int64
}

// Programs on little data are looked at closely, those on much of it, which are
// long, less so.
var (
	fine   = grain{16 << 10, 64}
	coarse = grain{64 << 10, 256}
)

// muchBytes is the footprint from which a program is looked at coarsely.
const muchBytes = 512 << 20

// ways is the associativity of the shared cache's hashed sets.
const ways = 16

// layout is how a tensor is cut into blocks: rows x width bytes each.
type layout struct {
	family   uint64 // hash of the name without the layer index
	layer    int32
	kin      int32 // index of its family in the replay; -1 outside the layers
	rows     int64 // of the tensor
	rowBytes int64
	br, bw   int64 // rows and bytes across of one block
	sub      int64 // rows that one bit of presence stands for
	across   int64 // blocks in one row of blocks
	elemBits int64
	home     trace.Home
	weight   bool
	kept     bool // weights, keys and values, which lie where they are used
}

func newLayout(family string, t *trace.Tensor, g grain) layout {
	l := layout{
		family:   hashString(family),
		layer:    int32(t.Layer),
		rows:     t.Rows,
		elemBits: int64(t.DType.Bits()),
		home:     t.Home,
		weight:   t.Role == graph.Weight,
		kept:     t.Role == graph.Weight || t.Role == graph.KV,
	}
	l.rowBytes = (t.Cols*l.elemBits + 7) / 8
	l.br = min(g.rows, t.Rows)
	l.bw = g.bytes / l.br
	if l.rowBytes < l.bw {
		l.bw = max(1, l.rowBytes)
		l.br = max(1, min(t.Rows, g.bytes/l.bw))
	}
	l.across = (l.rowBytes + l.bw - 1) / l.bw
	l.sub = (l.br + 63) / 64
	return l
}

// A block is present by rows: 64 bits stand for its rows, or for groups of
// sub rows where it has more. So a tile that needs a few rows brings in no
// more, and a result that is written row by row is not fetched.

// bits is the bits of rows [r0, r1) of a block.
func (l *layout) bits(r0, r1 int64) uint64 {
	a, b := r0/l.sub, (r1-1)/l.sub
	return (1<<uint(b) - 1<<uint(a)) | 1<<uint(b)
}

// bytes is the size of the rows that bits of block b stand for, less at the
// tensor's edges.
func (l *layout) bytes(b int64, bits uint64) int64 {
	n := int64(mathbits.OnesCount64(bits)) * l.sub
	return min(n, l.br, l.rows-b/l.across*l.br) * min(l.bw, l.rowBytes-b%l.across*l.bw)
}

// cache is a set-associative cache of blocks with hashed sets, each a stack in
// order of use: the least recently used block goes. Hashing spreads a working
// set unevenly over the sets, so that hits fade over a range around the
// capacity and do not stop at it, as they do on GPUs. Weights that take turns have
// the capacity of one partition: in the GEMM tables of ai-dynamo/aiconfigurator,
// those of 0.5 to 1.0 times the whole capacity find next to nothing left in it
// on A100 and H100. A single working set keeps all of it (RRZE-HPC/gpu-benches,
// gpu-l2-cache). What happens next depends on
// nothing but the order of accesses, so that equal states lead to equal
// futures.
type cache struct {
	sets    int
	block   int64    // bytes
	tags    []uint64 // sets x ways, most recent first; 0 is empty
	have    []uint64 // rows present
	dirty   []uint64 // rows modified
	layouts []layout
}

// A tag packs the tensor plus one, and the block.
const (
	tensorBit = 40
	blockMask = 1<<tensorBit - 1
)

func tag(tensor int32, block int64) uint64 { return uint64(tensor+1)<<tensorBit | uint64(block) }

func unpack(t uint64) (tensor int32, block int64) {
	return int32(t>>tensorBit) - 1, int64(t & blockMask)
}

func newCache(capacity int64, layouts []layout, g grain) *cache {
	sets := int(max(1, capacity/(g.bytes*ways)))
	n := sets * ways
	return &cache{sets: sets, block: g.bytes, tags: make([]uint64, n), have: make([]uint64, n), dirty: make([]uint64, n), layouts: layouts}
}

func (c *cache) copyFrom(o *cache) {
	copy(c.tags, o.tags)
	copy(c.have, o.have)
	copy(c.dirty, o.dirty)
}

func (c *cache) clone() *cache {
	n := *c
	n.tags, n.have, n.dirty = slices.Clone(c.tags), slices.Clone(c.have), slices.Clone(c.dirty)
	return &n
}

// mix is the finalizer of splitmix64 (Steele et al., OOPSLA 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func hashString(s string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// relative is the hash of a block by its tensor's family, so that a layer's
// tensors behave like the next layer's.
func (c *cache) relative(tensor int32, block int64) uint64 {
	return mix(c.layouts[tensor].family + uint64(block)*0x9e3779b97f4a7c15)
}

// touch accesses rows of one block and returns those that were not present and
// how many bytes of modified data had to be written back to make room.
func (c *cache) touch(tensor int32, block int64, rows uint64, write bool) (missing uint64, writeback int64) {
	t := tag(tensor, block)
	set := int((c.relative(tensor, block) >> 32) * uint64(c.sets) >> 32)
	lo, hi := set*ways, set*ways+ways
	tags := c.tags[lo:hi:hi]
	at := 0
	for at < ways && tags[at] != t && tags[at] != 0 {
		at++
	}
	var have, dirty uint64
	switch {
	case at == ways:
		at--
		if d := c.dirty[lo+at]; d != 0 {
			old, b := unpack(tags[at])
			writeback = c.layouts[old].bytes(b, d)
		}
	case tags[at] != 0:
		have, dirty = c.have[lo+at], c.dirty[lo+at]
	}
	if at > 0 {
		copy(tags[1:at+1], tags[:at])
		copy(c.have[lo+1:lo+at+1], c.have[lo:lo+at])
		copy(c.dirty[lo+1:lo+at+1], c.dirty[lo:lo+at])
	}
	if write {
		dirty |= rows
	}
	tags[0], c.have[lo], c.dirty[lo] = t, have|rows, dirty
	return rows &^ have, writeback
}

// drop forgets a tensor nobody will read again; its modified blocks need not
// reach main memory, as its space is about to be overwritten.
func (c *cache) drop(tensor int32) {
	for lo := 0; lo < len(c.tags); lo += ways {
		n := lo
		for i := lo; i < lo+ways; i++ {
			if t, _ := unpack(c.tags[i]); c.tags[i] == 0 || t == tensor {
				continue
			}
			c.tags[n], c.have[n], c.dirty[n] = c.tags[i], c.have[i], c.dirty[i]
			n++
		}
		for ; n < lo+ways; n++ {
			c.tags[n], c.have[n], c.dirty[n] = 0, 0, 0
		}
	}
}

// state writes the cache's content with layers counted from layer: two equal
// states behave alike. Of a tensor that dead says nobody will touch again,
// only the place in its set matters, and what writing it back costs.
func (c *cache) state(buf []byte, layer int32, dead func(tensor int32) bool) []byte {
	for i, tag := range c.tags {
		if tag == 0 {
			buf = append(buf, 0)
			continue
		}
		t, b := unpack(tag)
		lay := &c.layouts[t]
		switch {
		case dead(t) && c.dirty[i] == 0:
			buf = append(buf, 1)
		case dead(t):
			buf = append(buf, 2)
			buf = binary.LittleEndian.AppendUint32(buf, uint32(lay.bytes(b, c.dirty[i])))
			buf = binary.LittleEndian.AppendUint32(buf, uint32(lay.bw))
		default:
			buf = append(buf, 3)
			buf = binary.LittleEndian.AppendUint64(buf, lay.family)
			buf = binary.LittleEndian.AppendUint64(buf, uint64(b))
			buf = binary.LittleEndian.AppendUint32(buf, uint32(lay.relative(layer)))
			buf = binary.LittleEndian.AppendUint64(buf, c.have[i])
			buf = binary.LittleEndian.AppendUint64(buf, c.dirty[i])
		}
	}
	return buf
}

// relative is how many layers after layer the tensor's is; far off for one
// outside the layers.
func (l *layout) relative(layer int32) int32 {
	if l.layer < 0 {
		return -1 << 30
	}
	return l.layer - layer
}

// rename replaces every tensor by what move gives for it.
func (c *cache) rename(move func(int32) int32) {
	for i, v := range c.tags {
		if v != 0 {
			t, b := unpack(v)
			c.tags[i] = tag(move(t), b)
		}
	}
}

// held is the capacity in bytes.
func (c *cache) held() int64 { return int64(len(c.tags)) * c.block }
