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
	brLog    int8  // their logarithms to base 2; -1 if there is none
	bwLog    int8
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
	l.brLog, l.bwLog = log2(l.br), log2(l.bw)
	return l
}

// log2 is the logarithm of a power of two, -1 of another number.
func log2(n int64) int8 {
	if n&(n-1) != 0 {
		return -1
	}
	return int8(mathbits.TrailingZeros64(uint64(n)))
}

// down is the row of blocks that a row lies in.
func (l *layout) down(row int64) int64 {
	if l.brLog >= 0 {
		return row >> uint(l.brLog)
	}
	return row / l.br
}

// right is the column of blocks that a byte of a row lies in.
func (l *layout) right(byte int64) int64 {
	if l.bwLog >= 0 {
		return byte >> uint(l.bwLog)
	}
	return byte / l.bw
}

// A block is present by rows: 64 bits stand for its rows, or for groups of
// sub rows where it has more. So a tile that needs a few rows brings in no
// more, and a result that is written row by row is not fetched.

// bits is the bits of rows [r0, r1) of a block.
func (l *layout) bits(r0, r1 int64) uint64 {
	a, b := r0, r1-1
	if l.sub > 1 {
		a, b = a/l.sub, b/l.sub
	}
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
	order   []uint64 // of each set: its slots, four bits each, the most recently used lowest
	prints  []uint64 // of each slot a byte of the hash of what is in it
	slots   []slot   // sets x ways
	count   []int32  // by tensor: its slots
	layouts []layout

	memory *Memory // nil without one
	past   past    // what the cache went through
	made   bool    // there is an order of slots; the cache is empty otherwise
	behind []deed  // what it went through since then and does not show yet
}

// slot is room for a block.
type slot struct {
	tag   uint64 // 0 is empty; empty slots come last in the order of their set
	have  uint64 // rows present
	dirty uint64 // rows modified
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

// printWords is the words of prints for a set; the others are patterns to look
// at all bytes, or all groups of four bits, of a word at once, and the order of
// a set whose slots were never used.
const (
	printWords = ways / 8
	eachByte   = 0x0101010101010101
	eachFour   = 0x1111111111111111
	asMade     = 0xfedcba9876543210
)

func newCache(capacity int64, layouts []layout, g grain) *cache {
	return &cache{sets: int(max(1, capacity/(g.bytes*ways))), block: g.bytes, layouts: layouts}
}

// make empties the cache.
func (c *cache) make() {
	if c.order == nil {
		c.order, c.prints, c.slots = make([]uint64, c.sets), make([]uint64, c.sets*printWords), make([]slot, c.sets*ways)
		c.count = make([]int32, len(c.layouts))
	} else {
		clear(c.prints)
		clear(c.slots)
		clear(c.count)
	}
	for i := range c.order {
		c.order[i] = asMade
	}
	c.made = true
}

func (c *cache) copyFrom(o *cache) {
	c.past, c.behind, c.made = o.past, slices.Clip(o.behind), o.made
	if !o.made {
		return
	}
	if c.order == nil {
		c.make()
	}
	copy(c.order, o.order)
	copy(c.prints, o.prints)
	copy(c.slots, o.slots)
	copy(c.count, o.count)
}

func (c *cache) clone() *cache {
	n := *c
	n.behind = slices.Clip(c.behind)
	n.order, n.prints, n.slots, n.count = nil, nil, nil, nil
	if c.made {
		n.order, n.prints, n.slots, n.count = slices.Clone(c.order), slices.Clone(c.prints), slices.Clone(c.slots), slices.Clone(c.count)
	}
	return &n
}

// equal tells whether two caches hold the same in the same order of use.
func (c *cache) equal(o *cache) bool {
	if c.sets != o.sets {
		return false
	}
	for set, a := range c.order {
		for b, i := o.order[set], 0; i < ways; a, b, i = a>>4, b>>4, i+1 {
			if c.slots[set*ways+int(a&15)] != o.slots[set*ways+int(b&15)] {
				return false
			}
		}
	}
	return true
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

// find returns the slot of a block in a set, counted in all of the cache, or -1.
// print is a byte of the block's hash.
func (c *cache) find(set int, t, print uint64) int {
	for w := range printWords {
		// Bytes that are zero are alike; those above one that is may seem so.
		x := c.prints[set*printWords+w] ^ print*eachByte
		for x = (x - eachByte) &^ x & (eachByte << 7); x != 0; x &= x - 1 {
			if at := set*ways + w*8 + mathbits.TrailingZeros64(x)>>3; c.slots[at].tag == t {
				return at
			}
		}
	}
	return -1
}

// touch accesses rows of one block and returns those that were not present and
// how many bytes of modified data had to be written back to make room.
func (c *cache) touch(tensor int32, block int64, rows uint64, write bool) (missing uint64, writeback int64) {
	h := c.relative(tensor, block)
	t := tag(tensor, block)
	set := int((h >> 32) * uint64(c.sets) >> 32)
	order := c.order[set]
	at := c.find(set, t, h&0xff)
	if at < 0 {
		// The last slot is empty or holds what was not used for the longest time.
		last := order >> 60
		at = set*ways + int(last)
		c.order[set] = order<<4 | last
		s := &c.slots[at]
		if s.tag != 0 {
			old, b := unpack(s.tag)
			c.count[old]--
			if s.dirty != 0 {
				writeback = c.layouts[old].bytes(b, s.dirty)
			}
		}
		c.count[tensor]++
		word, shift := &c.prints[set*printWords+int(last>>3)], last&7*8
		*word = *word&^(0xff<<shift) | h&0xff<<shift
		*s = slot{tag: t, have: rows}
		if write {
			s.dirty = rows
		}
		return rows, writeback
	}
	if own := uint64(at & (ways - 1)); order&15 != own {
		x := order ^ own*eachFour
		place := mathbits.TrailingZeros64((x-eachFour)&^x&(eachFour<<3)) &^ 3
		before := uint64(1)<<place - 1
		c.order[set] = order&^(before<<4|15) | order&before<<4 | own
	}
	s := &c.slots[at]
	missing = rows &^ s.have
	s.have |= rows
	if write {
		s.dirty |= rows
	}
	return missing, 0
}

// drop forgets a tensor nobody will read again; its modified blocks need not
// reach main memory, as its space is about to be overwritten.
func (c *cache) drop(tensor int32) {
	if c.memory != nil {
		c.past = c.past.then(deedDrop).then(uint64(tensor))
		if c.lags() {
			c.later(deed{tensor: tensor})
			return
		}
	}
	c.dropNow(tensor)
}

func (c *cache) dropNow(tensor int32) {
	if c.count[tensor] == 0 {
		return
	}
	c.count[tensor] = 0
	for set, order := range c.order {
		var kept, gone uint64
		n, out := 0, 0
		for range ways {
			at := order & 15
			order >>= 4
			s := &c.slots[set*ways+int(at)]
			if t, _ := unpack(s.tag); s.tag != 0 && t != tensor {
				kept |= at << (4 * n)
				n++
				continue
			}
			*s = slot{}
			gone |= at << (4 * out)
			out++
		}
		c.order[set] = kept | gone<<(4*n)
	}
}

// digest is a hash of state, and the tensors that the cache holds something of.
// The launch at is the first of the layer, and the pass final or not.
func (c *cache) digest(k *kernel, layer int32, at int, final bool, dead func(tensor int32) bool) (state []byte, tensors []int32) {
	var p past
	var v memorized
	known := false
	if c.memory != nil {
		p = c.past.then(deedState).then(uint64(uint32(layer))<<1 | flag(final)).then(uint64(at))
		v, known = c.memory.get(p)
	}
	if !known {
		c.catchUp(k)
		k.buf = c.state(k.buf[:0], layer, dead)
		v.state, v.tensors = past{}.bytes(k.buf), c.tensors()
		if c.memory != nil {
			c.memory.put(p, v)
		}
	}
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, v.state.a), v.state.b), v.tensors
}

// tensors lists what the cache holds something of.
func (c *cache) tensors() []int32 {
	var list []int32
	for t, n := range c.count {
		if n > 0 {
			list = append(list, int32(t))
		}
	}
	return list
}

// state writes the cache's content with layers counted from layer: two equal
// states behave alike. Of a tensor that dead says nobody will touch again,
// only the place in its set matters, and what writing it back costs.
func (c *cache) state(buf []byte, layer int32, dead func(tensor int32) bool) []byte {
	for i := range c.slots {
		s := &c.slots[i&^(ways-1)|int(c.order[i/ways]>>(4*(i&(ways-1)))&15)]
		if s.tag == 0 {
			buf = append(buf, 0)
			continue
		}
		t, b := unpack(s.tag)
		lay := &c.layouts[t]
		switch {
		case dead(t) && s.dirty == 0:
			buf = append(buf, 1)
		case dead(t):
			buf = append(buf, 2)
			buf = binary.LittleEndian.AppendUint32(buf, uint32(lay.bytes(b, s.dirty)))
			buf = binary.LittleEndian.AppendUint32(buf, uint32(lay.bw))
		default:
			buf = append(buf, 3)
			buf = binary.LittleEndian.AppendUint64(buf, lay.family)
			buf = binary.LittleEndian.AppendUint64(buf, uint64(b))
			buf = binary.LittleEndian.AppendUint32(buf, uint32(lay.relative(layer)))
			buf = binary.LittleEndian.AppendUint64(buf, s.have)
			buf = binary.LittleEndian.AppendUint64(buf, s.dirty)
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

// rename replaces every tensor by what move gives for it, which shift layers
// further on is.
func (c *cache) rename(shift int32, move func(int32) int32) {
	if c.memory != nil {
		c.past = c.past.then(deedRename).then(uint64(uint32(shift)))
		if c.lags() {
			c.later(deed{rename: move})
			return
		}
	}
	c.renameNow(move)
}

func (c *cache) renameNow(move func(int32) int32) {
	clear(c.count)
	for i := range c.slots {
		if v := c.slots[i].tag; v != 0 {
			t, b := unpack(v)
			to := move(t)
			c.slots[i].tag = tag(to, b)
			c.count[to]++
		}
	}
}

// held is the capacity in bytes.
func (c *cache) held() int64 { return int64(c.sets*ways) * c.block }
