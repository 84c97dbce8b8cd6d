package machine

import "maru/workloads/trace"

// line is tile programs that follow each other in the order of dispatch, each of
// which lies one further along the axis of its part, or one less far.
type line struct {
	part  int
	first int32 // in the launch
	n     int64
	g     [4]int64 // of the first
	by    int64    // 1 or -1
}

// all walks the coordinates of a line's tile programs.
func (l *line) all(p *trace.Part) func(yield func([4]int64) bool) {
	return func(yield func([4]int64) bool) {
		g, axis := l.g, p.Axis()
		for range l.n {
			if !yield(g) {
				return
			}
			g[axis] += l.by
		}
	}
}

// tiles is tile programs of one part, in the order of dispatch.
type tiles struct {
	of    *trace.Part
	lines []line
	n     int64
}

// add appends a line.
func (t *tiles) add(l line) {
	t.n += l.n
	if n := len(t.lines); n > 0 {
		last, next := &t.lines[n-1], l.g
		next[t.of.Axis()] -= last.by * last.n
		if last.g == next && last.by == l.by && int64(last.first)+last.n == int64(l.first) {
			last.n += l.n
			return
		}
	}
	t.lines = append(t.lines, l)
}

// each walks the numbers of tile programs in their launch.
func (t *tiles) each(yield func(int32) bool) {
	for i := range t.lines {
		l := &t.lines[i]
		for j := range int32(l.n) {
			if !yield(l.first + j) {
				return
			}
		}
	}
}

// stripe is a region that several tile programs of a cohort sweep together.
type stripe struct {
	tile int32 // where they are of other sizes: one of the tile programs, index into kernel.uneven
	n    int64 // tile programs

	// Where all iterations are of one size, at equal distances:
	even             bool
	row, col         int64 // of iteration 0; the column in bytes
	rows, width      int64 // the width in bytes
	rowStep, colStep int64
}

// spot is where tile programs of a cohort access a tensor, as their expressions
// have it.
type spot struct {
	row, col int64
	n        int64    // tile programs
	g        [4]int64 // one of them
}

// raw is e before division and limits, at iteration 0: tile programs with
// equal raw values see equal regions.
func raw(e *trace.Expr, g [4]int64) int64 {
	return e.C + e.X*g[0] + e.Y*g[1] + e.Z*g[2] + e.W*g[3]
}

// linear tells whether e grows by the same amount with each iteration from k0
// to k1 - 1.
func linear(e *trace.Expr, g [4]int64, k0, k1 int64) bool {
	return e.K == 0 || e.Div <= 1 && e.Eval(g, k1-1)-e.Eval(g, k0) == e.K*(k1-1-k0)
}

// one is in's rectangle in iteration k, clipped to the tensor; in rows and
// bytes across.
func (l *layout) one(in *trace.Instr, g [4]int64, k int64) (r0, r1, c0, c1 int64) {
	r0 = in.Row.Eval(g, k)
	r1 = r0 + in.Rows
	c0 = in.Col.Eval(g, k) * l.elemBits
	c1 = (c0 + in.Cols*l.elemBits + 7) / 8
	c0 /= 8
	return max(0, r0), min(l.rows, r1), max(0, c0), min(l.rowBytes, c1)
}

// fit finds out whether the rectangles of iterations 0 to n - 1 are of one
// size and at equal distances: in each direction they stay where they are, or
// move in equal steps inside the tensor.
func (st *stripe) fit(l *layout, in *trace.Instr, g [4]int64, n int64) {
	if st.inside(l, in, n) {
		return
	}
	if in.Col.K*l.elemBits%8 != 0 || !linear(&in.Row, g, 0, n) || !linear(&in.Col, g, 0, n) {
		return
	}
	r0, r1, c0, c1 := l.one(in, g, 0)
	a0, a1, b0, b1 := l.one(in, g, n-1)
	st.row, st.col, st.rows, st.width = r0, c0, r1-r0, c1-c0
	st.rowStep, st.colStep = in.Row.K, in.Col.K*l.elemBits/8
	st.even = (in.Row.K == 0 || st.rows == in.Rows && a1-a0 == in.Rows) &&
		(in.Col.K == 0 || st.width*8 == in.Cols*l.elemBits && b1-b0 == st.width) &&
		st.rows > 0 && st.width > 0
}

// inside is fit for the usual stripe, which lies inside the tensor all the time
// and is not divided. Its place is that of its expressions as yet.
func (st *stripe) inside(l *layout, in *trace.Instr, n int64) bool {
	r, c := &in.Row, &in.Col
	if r.Div > 1 || c.Div > 1 || r.Max > 0 || c.Max > 0 || l.elemBits&7 != 0 {
		return false
	}
	row, col := st.row, st.col
	low, high := min(row, row+r.K*(n-1)), max(row, row+r.K*(n-1))+in.Rows
	left, right := min(col, col+c.K*(n-1)), max(col, col+c.K*(n-1))+in.Cols
	e := l.elemBits / 8
	if low < max(0, r.Min) || high > l.rows || left < max(0, c.Min) || right*e > l.rowBytes || in.Rows <= 0 || in.Cols <= 0 {
		return false
	}
	st.row, st.col, st.rows, st.width = row, col*e, in.Rows, in.Cols*e
	st.rowStep, st.colStep = r.K, c.K*e
	st.even = true
	return true
}

// join takes a stripe in that lies beside st in all iterations, as those of tile
// programs of one row each do.
func (st *stripe) join(o *stripe) bool {
	if !st.even || !o.even || st.n != o.n || st.rowStep != o.rowStep || st.colStep != o.colStep {
		return false
	}
	switch {
	case o.col == st.col && o.width == st.width && o.row == st.row+st.rows:
		st.rows += o.rows
	case o.row == st.row && o.rows == st.rows && o.col == st.col+st.width:
		st.width += o.width
	default:
		return false
	}
	return true
}

// places is a small hash table from pairs to indices that empties at once.
type places struct {
	slots []struct {
		a, b  int64
		at    int32
		epoch uint32
	}
	epoch uint32
}

// reset empties the table and makes room for n pairs.
func (p *places) reset(n int) {
	if len(p.slots) < 2*n {
		size := 64
		for size < 2*n {
			size *= 2
		}
		*p = places{slots: make([]struct {
			a, b  int64
			at    int32
			epoch uint32
		}, size)}
	}
	p.epoch++
}

// place returns the index of a pair, or gives it the index at.
func (p *places) place(a, b int64, at int32) (int32, bool) {
	mask := uint64(len(p.slots) - 1)
	for i := mix(uint64(a)*0x9e3779b97f4a7c15+uint64(b)) & mask; ; i = (i + 1) & mask {
		s := &p.slots[i]
		if s.epoch != p.epoch {
			s.a, s.b, s.at, s.epoch = a, b, at, p.epoch
			return at, false
		}
		if s.a == a && s.b == b {
			return s.at, true
		}
	}
}

// gather finds the regions that a cohort of tile programs touches in step s of
// n iterations; those that several touch, once. What is accessed at
// unpredictable places is accounted for at once.
func (k *kernel) gather(s *trace.Step, t *tiles, n int64, sum *traffic) {
	k.stripes, k.instrs, k.uneven = k.stripes[:0], k.instrs[:0], k.uneven[:0]
	axis := t.of.Axis()
	for i := range s.Body {
		in := &s.Body[i]
		if in.Kind != trace.Load && in.Kind != trace.Store {
			continue
		}
		if in.Random {
			k.scatter(in, t.n, n, sum)
			continue
		}
		c := comb{k: k, l: &k.layouts[k.args[in.Slot]], in: in, n: n, first: len(k.stripes), axis: axis, rows: in.Row.Along(axis), cols: in.Col.Along(axis)}
		switch moves := c.rows != 0 || c.cols != 0; {
		case t.n == 1:
			c.spot(spot{raw(&in.Row, t.lines[0].g), raw(&in.Col, t.lines[0].g), 1, t.lines[0].g})
		case moves && (len(t.lines) == 1 || apart(in, &t.of.Grid)):
			for j := range t.lines {
				c.line(&t.lines[j])
			}
		default:
			c.shared(t, moves)
		}
		k.instrs = append(k.instrs, sweep{in, c.first, len(k.stripes)})
	}
}

// apart tells whether each tile program of a grid accesses a place of its own: in
// the expressions of rows or columns, each coordinate counts for more than all
// that count for less.
func apart(in *trace.Instr, grid *[4]int64) bool {
	var told [4]bool
	for _, e := range [2]*trace.Expr{&in.Row, &in.Col} {
		var mine [4]bool
		for span := int64(0); ; { // of the coordinates looked at
			least := -1
			for d := range grid {
				if a := abs(e.Along(d)); a > 0 && grid[d] > 1 && !mine[d] && !told[d] && (least < 0 || a < abs(e.Along(least))) {
					least = d
				}
			}
			if least < 0 {
				break
			}
			a := abs(e.Along(least))
			if a <= span {
				return false
			}
			span += a * (grid[least] - 1)
			mine[least] = true
		}
		for d := range mine {
			told[d] = told[d] || mine[d]
		}
	}
	for d := range grid {
		if grid[d] > 1 && !told[d] {
			return false
		}
	}
	return true
}

// comb makes stripes of the places at which tile programs execute an instruction.
type comb struct {
	k          *kernel
	l          *layout
	in         *trace.Instr
	n          int64 // iterations
	first      int   // stripe of the instruction
	axis       int   // along which lines lie
	rows, cols int64 // by which the place moves with each step along it
}

// shared makes stripes of the places of tile programs, of which several may be at
// the same one; move says that places differ within a line.
func (c *comb) shared(t *tiles, move bool) {
	k, in := c.k, c.in
	k.spots = k.spots[:0]
	most := t.n
	if !move {
		most = int64(len(t.lines))
	}
	k.seen.reset(int(most))
	last := -1
	for i := range t.lines {
		l := &t.lines[i]
		g, row, col := l.g, raw(&in.Row, l.g), raw(&in.Col, l.g)
		n, times := l.n, int64(1)
		if move {
			n, times = 1, l.n
		}
		for range times {
			switch next := last + 1; {
			case last >= 0 && k.spots[last].row == row && k.spots[last].col == col:
				k.spots[last].n += n
			case next < len(k.spots) && k.spots[next].row == row && k.spots[next].col == col:
				k.spots[next].n += n
				last = next
			default:
				at, found := k.seen.place(row, col, int32(len(k.spots)))
				last = int(at)
				if found {
					k.spots[at].n += n
					break
				}
				k.spots = append(k.spots, spot{row, col, n, g})
			}
			g[c.axis] += l.by
			row += c.rows * l.by
			col += c.cols * l.by
		}
	}
	for i := range k.spots {
		c.spot(k.spots[i])
	}
}

// spot makes a stripe of a place.
func (c *comb) spot(s spot) {
	st := c.fit(s)
	c.stripe(&st)
}

// fit is the stripe of a place.
func (c *comb) fit(s spot) stripe {
	st := stripe{n: s.n, row: s.row, col: s.col}
	st.fit(c.l, c.in, s.g, c.n)
	if !st.even {
		st.tile = int32(len(c.k.uneven))
		c.k.uneven = append(c.k.uneven, s.g)
	}
	return st
}

// stripe appends a stripe, or makes it part of those that it lies beside.
func (c *comb) stripe(st *stripe) {
	k := c.k
	if end := len(k.stripes); end > c.first && k.stripes[end-1].join(st) {
		c.close()
		return
	}
	k.stripes = append(k.stripes, *st)
}

// close joins the last stripe with those before it.
func (c *comb) close() {
	k := c.k
	end := len(k.stripes)
	for end-c.first >= 2 && k.stripes[end-2].join(&k.stripes[end-1]) {
		end--
	}
	k.stripes = k.stripes[:end]
}

// line makes stripes of the places of a line, each of which one tile program has
// for itself, as spot does of one after the other.
func (c *comb) line(l *line) {
	i, end := int64(0), l.n
	if end > 2 { // one at an end may be cut at the edge of the tensor
		switch {
		case c.row(l, 0, end):
			return
		case c.row(l, 0, end-1):
			i = end - 1
		default:
			c.spot(c.at(l, 0))
			if i = 1; c.row(l, 1, end) {
				return
			}
		}
	}
	for ; i < end; i++ {
		c.spot(c.at(l, i))
	}
}

// at is the place of tile program i of a line.
func (c *comb) at(l *line, i int64) spot {
	g := l.g
	g[c.axis] += i * l.by
	return spot{raw(&c.in.Row, g), raw(&c.in.Col, g), 1, g}
}

// row makes stripes of the places of tile programs i to end - 1 of a line, if
// they are of one size and at equal distances. They are if those at the ends are
// of one size and as far apart: none is cut at an edge that they move towards.
func (c *comb) row(l *line, i, end int64) bool {
	n := end - i - 1
	rows, bits := c.rows*l.by, c.cols*l.by*c.l.elemBits
	bytes := bits / 8
	if rows != 0 && c.in.Row.Div > 1 || bits != 0 && c.in.Col.Div > 1 || bits%8 != 0 {
		return false
	}
	st, last := c.fit(c.at(l, i)), c.fit(c.at(l, end-1))
	if !st.even || !last.even || st.rows != last.rows || st.width != last.width || last.row-st.row != rows*n || last.col-st.col != bytes*n {
		return false
	}
	c.stripe(&st)
	st.row, st.col = st.row+rows, st.col+bytes
	if n > 0 && c.grow(&st, n, rows, bytes) {
		return true
	}
	for ; n > 0; n-- {
		c.stripe(&st)
		st.row, st.col = st.row+rows, st.col+bytes
	}
	return true
}

// grow makes n stripes, of which st is the first and each lies so much further,
// part of the last one, if each lies right beside those before it and none of them
// makes it part of another on the way.
func (c *comb) grow(st *stripe, n, rows, bytes int64) bool {
	right, down := rows == 0 && bytes == st.width, bytes == 0 && rows == st.rows
	end := len(c.k.stripes)
	was := c.k.stripes[end-1]
	grown := was
	if !right && !down || !grown.join(st) {
		return false
	}
	grown.width += bytes * (n - 1)
	grown.rows += rows * (n - 1)
	if end-c.first >= 2 {
		p := &c.k.stripes[end-2]
		if right && p.width > was.width && p.width < grown.width || down && p.rows > was.rows && p.rows < grown.rows {
			return false
		}
	}
	c.k.stripes[end-1] = grown
	c.close()
	return true
}
