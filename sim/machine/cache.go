package machine

import (
	"encoding/binary"

	"maru/workloads/trace"
)

// blockBytes is the size of the aligned pieces of a tensor that the cache
// holds. It is independent of operator tiles, so data brought in by one kernel
// is found by the next whatever its tile shape.
const blockBytes = 16 << 10

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
	across   int64 // blocks in one row of blocks
	elemBits int64
}

func newLayout(family string, t *trace.Tensor) layout {
	l := layout{
		family:   hashString(family),
		layer:    int32(t.Layer),
		rows:     t.Rows,
		elemBits: int64(t.DType.Bits()),
	}
	l.rowBytes = (t.Cols*l.elemBits + 7) / 8
	l.br = min(64, t.Rows)
	l.bw = blockBytes / l.br
	if l.rowBytes < l.bw {
		l.bw = max(1, l.rowBytes)
		l.br = max(1, min(t.Rows, blockBytes/l.bw))
	}
	l.across = (l.rowBytes + l.bw - 1) / l.bw
	return l
}

// size is the number of bytes of block b, less at the tensor's edges.
func (l *layout) size(b int64) int64 {
	r, c := b/l.across*l.br, b%l.across*l.bw
	return min(l.br, l.rows-r) * min(l.bw, l.rowBytes-c)
}

// cache is a set-associative cache of blocks with hashed sets, each a stack in
// order of use: the least recently used block goes. Hashing spreads a working
// set unevenly over the sets, so that hits fade over a range around the
// capacity and do not stop at it, as they do on GPUs (in ai-dynamo/aiconfigurator's GEMMs weights that
// take turns in 1.0 times H100's capacity find next to nothing left in it). What
// happens next depends on nothing but the order of accesses, so that equal
// states lead to equal futures.
type cache struct {
	sets    int
	lines   []uint64 // sets x ways, most recent first; 0 is empty
	layouts []layout
}

// A line packs a modified bit, the tensor plus one, and the block.
const (
	modified  = 1 << 63
	tensorBit = 40
	blockMask = 1<<tensorBit - 1
)

func line(tensor int32, block int64) uint64 { return uint64(tensor+1)<<tensorBit | uint64(block) }

func unpack(l uint64) (tensor int32, block int64) {
	return int32(l&^modified>>tensorBit) - 1, int64(l & blockMask)
}

func newCache(capacity int64, layouts []layout) *cache {
	sets := int(max(1, capacity/(blockBytes*ways)))
	return &cache{sets: sets, lines: make([]uint64, sets*ways), layouts: layouts}
}

func (c *cache) copyFrom(o *cache) { copy(c.lines, o.lines) }

func (c *cache) clone() *cache {
	n := *c
	n.lines = append([]uint64(nil), c.lines...)
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

// touch accesses one block and reports whether it was present and how many
// bytes of modified data had to be written back to make room.
func (c *cache) touch(tensor int32, block int64, write bool) (hit bool, writeback int64) {
	l := line(tensor, block)
	h := c.relative(tensor, block)
	set := int((h >> 32) * uint64(c.sets) >> 32)
	stack := c.lines[set*ways : set*ways+ways : set*ways+ways]
	at := 0
	for at < ways && stack[at]&^modified != l && stack[at] != 0 {
		at++
	}
	if at < ways && stack[at] != 0 {
		hit = true
		l = stack[at]
	} else if at == ways {
		at--
		if stack[at]&modified != 0 {
			t, b := unpack(stack[at])
			writeback = c.layouts[t].size(b)
		}
	}
	if write {
		l |= modified
	}
	copy(stack[1:at+1], stack[:at])
	stack[0] = l
	return hit, writeback
}

// drop forgets a tensor nobody will read again; its modified blocks need not
// reach main memory, as its space is about to be overwritten.
func (c *cache) drop(tensor int32) {
	for s := 0; s < len(c.lines); s += ways {
		stack := c.lines[s : s+ways]
		n := 0
		for _, l := range stack {
			if t, _ := unpack(l); l == 0 || t != tensor {
				stack[n] = l
				n++
			}
		}
		clear(stack[n:])
	}
}

// state writes the cache's content with layers counted from layer: two equal
// states behave alike. Of a tensor that dead says nobody will touch again,
// only the place in its set matters, and what writing it back costs.
func (c *cache) state(buf []byte, layer int32, dead func(tensor int32) bool) []byte {
	for _, l := range c.lines {
		if l == 0 {
			buf = append(buf, 0)
			continue
		}
		t, b := unpack(l)
		lay := &c.layouts[t]
		switch {
		case dead(t) && l&modified == 0:
			buf = append(buf, 1)
		case dead(t):
			buf = append(buf, 2)
			buf = binary.LittleEndian.AppendUint32(buf, uint32(lay.size(b)))
		default:
			buf = append(buf, 3+byte(l>>63))
			buf = binary.LittleEndian.AppendUint64(buf, lay.family)
			buf = binary.LittleEndian.AppendUint64(buf, uint64(b))
			buf = binary.LittleEndian.AppendUint32(buf, uint32(lay.relative(layer)))
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
	for i, l := range c.lines {
		if l != 0 {
			t, b := unpack(l)
			c.lines[i] = line(move(t), b) | l&modified
		}
	}
}
