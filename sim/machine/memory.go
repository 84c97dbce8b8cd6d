package machine

import (
	"math"
	"math/bits"
	"slices"
	"sync"

	"maru/sim/event"
	"maru/workloads/trace"
)

// Memory keeps what cohorts of tile programs moved through the shared cache, for
// replays to come. What a cohort moves depends on what the cache went through
// before, and on nothing else: not on clocks, bandwidths or latencies. So replays
// of equal programs on chips with equal caches, in which the cohorts start in the
// same order, find it here and sweep nothing. Results are the same with and
// without a memory. It may be shared by replays that run at the same time.
type Memory struct {
	shards [memoryShards]memoryShard

	mu   sync.Mutex
	idle []*kernel // whose working space the next replays use
}

const (
	memoryShards = 64
	// memorySize bounds what is kept, in entries of a shard, of which each takes
	// some hundred bytes. What was not asked for lately goes first.
	memorySize = 1 << 11
)

// memoryShard is a part of a memory: what was asked for lately, and before.
type memoryShard struct {
	mu       sync.Mutex
	now, old map[past]memorized
}

// memorized is the outcome of a deed: what a cohort moved, by step, and what of
// that was loaded for the first time in its launch; or the digest of the cache's
// state, with the tensors in it.
type memorized struct {
	moved   []traffic
	first   int64
	state   past
	tensors []int32
}

// NewMemory returns a memory that holds nothing.
func NewMemory() *Memory { return &Memory{} }

// kernel returns a kernel that idles, or a new one.
func (m *Memory) kernel() *kernel {
	if m == nil {
		return newKernel(event.New())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.idle) - 1
	if n < 0 {
		return newKernel(event.New())
	}
	k := m.idle[n]
	m.idle = m.idle[:n]
	return k
}

// rest takes a kernel back.
func (m *Memory) rest(k *kernel) {
	if m == nil {
		return
	}
	clear(k.hashes)
	k.m, k.cache, k.layouts, k.prog, k.args, k.launched, k.rec, k.fresh, k.covered, k.brought = nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
	k.bulk, k.static = bulk{}, static{}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = append(m.idle, k)
}

func (m *Memory) get(p past) (memorized, bool) {
	s := &m.shards[p.a%memoryShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.now[p]
	if !ok {
		if v, ok = s.old[p]; ok {
			s.keep(p, v)
		}
	}
	return v, ok
}

func (m *Memory) put(p past, v memorized) {
	s := &m.shards[p.a%memoryShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(p, v)
}

func (s *memoryShard) keep(p past, v memorized) {
	if len(s.now) >= memorySize {
		s.old, s.now = s.now, nil
	}
	if s.now == nil {
		s.now = map[past]memorized{}
	}
	s.now[p] = v
}

// past is a hash of 128 bits of all that a cache went through.
type past struct{ a, b uint64 }

// then is the past with another number at its end. The two halves are hashed by
// folded products with constants of their own, as wyhash does.
func (p past) then(x uint64) past {
	hi, lo := bits.Mul64(p.a^x^0xa0761d6478bd642f, p.b^0xe7037ed1a0b428db)
	hj, lj := bits.Mul64(p.b^x^0x8ebc6af09c88c6e3, p.a^0x589965cc75374cc3)
	return past{mix(hi ^ lo ^ x), mix(hj ^ lj + bits.RotateLeft64(x, 32))}
}

func (p past) list(list []int32) past {
	p = p.then(uint64(len(list)))
	for _, x := range list {
		p = p.then(uint64(x))
	}
	return p
}

func (p past) bytes(b []byte) past {
	p = p.then(uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		p = p.then(uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56)
	}
	for _, x := range b {
		p = p.then(uint64(x))
	}
	return p
}

// What happens to a cache begins with one of these.
const (
	deedCohort = iota + 1
	deedLaunch
	deedDrop
	deedRename
	deedState
)

// deed is what was done to a cache that keeps up with it later.
type deed struct {
	launch *launched // of a cohort; nil otherwise
	part   int
	counts []int64
	runs   []run
	mean   []traffic // see kernel.moves
	sweep  bool
	tensor int32               // that was dropped, unless
	rename func(t int32) int32 // tensors were renamed
}

// launched is what the cohorts of a launch have in common.
type launched struct {
	prog *trace.Program
	args []int32
}

// run is tile programs that follow each other in the order of dispatch.
type run struct{ first, n int32 }

// remember lets a cache that is empty go through what a memory knows without
// doing it.
func (c *cache) remember(m *Memory, tr *trace.Trace) {
	c.memory, c.made = m, false
	p := past{}.then(uint64(c.sets)).then(uint64(c.block)).then(uint64(len(c.layouts)))
	for i := range c.layouts {
		l := &c.layouts[i]
		p = p.then(l.family).then(uint64(uint32(l.layer))<<32 | uint64(uint32(l.kin))).then(uint64(l.rows)).then(uint64(l.rowBytes)).then(uint64(l.elemBits))
		p = p.then(uint64(l.br)).then(uint64(l.bw)).then(uint64(l.home)<<2 | flag(l.weight)<<1 | flag(l.kept))
	}
	p = p.then(uint64(len(tr.Launches)))
	for i := range tr.Launches {
		l := &tr.Launches[i]
		p = p.then(uint64(l.Program)<<32 | uint64(uint32(l.Layer))).then(uint64(l.At)).list(l.Args).list(l.Free)
	}
	c.past = p
}

// lags tells whether the cache is behind what it went through.
func (c *cache) lags() bool { return !c.made || len(c.behind) > 0 }

// later notes a deed that is not done yet.
func (c *cache) later(d deed) { c.behind = append(c.behind, d) }

// catchUp does what the cache is behind.
func (c *cache) catchUp(k *kernel) {
	if !c.lags() {
		return
	}
	if !c.made {
		c.make()
	}
	deeds := c.behind
	c.behind = nil
	prog, args, covered := k.prog, k.args, k.covered
	for i := range deeds {
		switch d := &deeds[i]; {
		case d.launch != nil:
			k.prog, k.args, k.covered = d.launch.prog, d.launch.args, nil
			if d.launch == k.launched { // of which it is still of interest what was loaded
				k.covered = covered
			}
			part := &k.prog.Parts[d.part]
			t := tiles{of: part}
			for _, r := range d.runs {
				for r.n > 0 {
					l := line{part: d.part, first: r.first}
					l.g, l.by, l.n = part.Line(int64(r.first) - before(k.prog, d.part))
					l.n = min(l.n, int64(r.n))
					t.add(l)
					r.first, r.n = r.first+int32(l.n), r.n-int32(l.n)
				}
			}
			k.moves(part, d.counts, &t, d.mean, d.sweep)
		case d.rename != nil:
			c.renameNow(d.rename)
		default:
			c.dropNow(d.tensor)
		}
	}
	k.prog, k.args, k.covered = prog, args, covered
}

// before is the tile programs of the parts before one.
func before(p *trace.Program, part int) (n int64) {
	for i := range part {
		n += p.Parts[i].Tiles()
	}
	return n
}

// begin notes that a launch begins whose cohorts go through the cache.
func (k *kernel) begin() {
	k.launched = nil
	if k.cache == nil || k.cache.memory == nil || k.rec != nil {
		return
	}
	h, ok := k.hashes[k.prog]
	if !ok {
		h = hashProgram(k.prog)
		if k.hashes == nil {
			k.hashes = map[*trace.Program]past{}
		}
		k.hashes[k.prog] = h
	}
	k.launched = &launched{k.prog, k.args}
	k.cache.past = k.cache.past.then(deedLaunch).then(h.a).then(h.b).then(math.Float64bits(k.m.run)).then(uint64(k.m.near)).list(k.args).
		then(math.Float64bits(k.m.away)).then(math.Float64bits(k.m.perDie)).then(flag(k.m.spread))
}

// remembered is what a class of tile programs moved in an equal past; see moves
// for mean and sweep. It is false if that is not known, and the cache is then up
// to date.
func (k *kernel) remembered(c *class, mean []traffic, sweep bool) (memorized, bool) {
	if k.launched == nil {
		return memorized{}, false
	}
	k.runs = k.runs[:0]
	for i := range c.lines {
		l := &c.lines[i]
		if n := len(k.runs); n > 0 && k.runs[n-1].first+k.runs[n-1].n == l.first {
			k.runs[n-1].n += int32(l.n)
			continue
		}
		k.runs = append(k.runs, run{l.first, int32(l.n)})
	}
	p := k.cache.past.then(deedCohort).then(uint64(c.part)).then(uint64(len(k.runs)))
	for _, r := range k.runs {
		p = p.then(uint64(uint32(r.first))<<32 | uint64(uint32(r.n)))
	}
	p = p.then(flag(sweep)).then(uint64(len(mean)))
	for i := range mean {
		p = mean[i].hash(p)
	}
	k.cache.past = p
	v, ok := k.cache.memory.get(p)
	if ok {
		k.cache.later(deed{launch: k.launched, part: c.part, counts: slices.Clone(c.counts), runs: slices.Clone(k.runs), mean: mean, sweep: sweep})
	} else {
		k.cache.catchUp(k)
	}
	return v, ok
}

// hash puts a traffic at the end of a past.
func (t *traffic) hash(p past) past {
	for _, x := range [...]float64{t.load, t.fetch, t.miss, t.late, t.store, t.writeback, t.dram, t.spill, t.local, t.external, t.cross, t.far} {
		p = p.then(math.Float64bits(x))
	}
	return p
}

// memorize keeps what a class of tile programs moved.
func (k *kernel) memorize(v memorized) {
	if k.launched != nil {
		k.cache.memory.put(k.cache.past, v)
	}
}

// hashProgram hashes what tile programs move, and when. How products are mapped
// to an array moves nothing.
func hashProgram(p *trace.Program) past {
	h := past{}.then(uint64(len(p.Parts))<<1 | flag(p.Embedding))
	expr := func(e *trace.Expr) {
		for _, x := range [...]int64{e.C, e.X, e.Y, e.Z, e.W, e.K, e.Div, e.Min, e.Max} {
			h = h.then(uint64(x))
		}
	}
	for i := range p.Parts {
		part := &p.Parts[i]
		for _, x := range part.Grid {
			h = h.then(uint64(x))
		}
		h = h.then(uint64(part.Swizzle)<<1 | flag(part.Reverse)).then(uint64(part.At)).then(uint64(part.Pitch)).then(uint64(len(part.Code)))
		for j := range part.Code {
			s := &part.Code[j]
			h = h.then(uint64(s.At)).then(uint64(s.Interval)).then(uint64(s.Stages)).then(uint64(s.Ways)).then(uint64(s.Groups)).then(flag(s.Count != nil)).then(uint64(len(s.Body)))
			if s.Count != nil {
				expr(s.Count)
			}
			for n := range s.Body {
				in := &s.Body[n]
				flags := flag(in.Sync) | flag(in.Random)<<1 | flag(in.Pair)<<2 | flag(in.Atomic)<<3 | flag(in.FromReg)<<4 | flag(in.Local)<<5
				h = h.then(uint64(in.Kind)<<32 | uint64(in.DType)<<16 | flags).then(uint64(in.Op)<<32 | uint64(uint32(in.Slot)))
				if in.Kind == trace.Load || in.Kind == trace.Store {
					expr(&in.Row)
					expr(&in.Col)
				}
				for _, x := range [...]int64{in.Rows, in.Cols, in.Share, in.M, in.N, in.K, in.Count, in.At} {
					h = h.then(uint64(x))
				}
			}
		}
	}
	return h
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
