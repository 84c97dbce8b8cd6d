package validate

import (
	"fmt"
	"regexp"
	"strconv"

	"maru/sim/fabric"
	"maru/studies/run"
	"maru/workloads/parallel/collective"
)

// spread says how a table spreads a model over chips.
type spread struct {
	data, tensor, stages int64
	micro                int64 // microbatches of a pipeline
}

var degrees = regexp.MustCompile(`^(dp|tp|pp)([0-9]{1,6})(_([0-9]{1,6}))?$`)

// spreadOver reads a degree of parallelism as tables write it: "none", "dp4", "tp4", "pp4_1" (stages, and the microbatches
// that go through them). The error says what is not described.
func spreadOver(text string, ranks int64) (spread, error) {
	s := spread{data: 1, tensor: 1, stages: 1, micro: 1}
	if ranks == 1 {
		return s, nil
	}
	m := degrees.FindStringSubmatch(text)
	if m == nil {
		return s, fmt.Errorf("parallelism %q of a whole model is not described", text)
	}
	n, err := strconv.ParseInt(m[2], 10, 64)
	if err == nil && n != ranks {
		err = fmt.Errorf("parallelism %q is not that of %d ranks", text, ranks)
	}
	if err != nil {
		return s, err
	}
	switch m[1] {
	case "dp":
		s.data = n
	case "tp":
		s.tensor = n
	case "pp":
		s.stages = n
	}
	switch {
	case m[4] == "":
	case m[1] != "pp":
		return s, fmt.Errorf("parallelism %q of a whole model is not described", text)
	default:
		if s.micro, err = strconv.ParseInt(m[4], 10, 64); err == nil && s.micro < 1 {
			err = fmt.Errorf("parallelism %q has no microbatches", text)
		}
	}
	return s, err
}

// check says what does not fall evenly to the chips.
func (s spread) check(batch, layers, heads, ffn int64) error {
	for _, need := range []struct {
		what  string
		n, by int64
	}{
		{"sequences", batch, s.data * s.micro}, {"layers", layers, s.stages}, {"heads", heads, s.tensor}, {"columns of the feed-forward part", ffn, s.tensor},
	} {
		if need.n%need.by != 0 {
			return fmt.Errorf("%d %s do not fall evenly to %d", need.n, need.what, need.by)
		}
	}
	return nil
}

// traffic is what a model spread over chips has to move.
type traffic struct {
	format          string
	stream, weights int64 // bytes of the residual stream of a microbatch, and of a chip's weights
	train           bool
}

// spread adds to the time of one chip what goes between chips, none of it hidden by computing, as frameworks without overlap
// have it.
//
// Tensor parallelism sums the stream twice for each layer and once for the embedding, and in training as often for
// gradients; data parallelism sums the gradients of all weights once; a pipeline of p stages has each microbatch in every
// stage one after the other, one of which is simulated, and takes, for each further one, as long as its slowest stage, the one with the head.
func (v *validation) spread(c *chip, one job, ends func(b *run.Brief, prefixes ...string) prediction, way spread, layers int64, t traffic) (job, error) {
	ranks := int(way.data * way.tensor * way.stages)
	net, err := v.systems.among(c.Name, ranks)
	if err != nil {
		return job{}, err
	}
	if net == nil {
		return job{}, skip(fmt.Sprintf("no system of %d %s", ranks, c.Name))
	}
	passes := int64(1)
	if t.train {
		passes = 2
	}
	var us float64
	for _, s := range []struct {
		kind  collective.Kind
		bytes int64
		times int64
		ranks []int
		done  bool
	}{
		{collective.AllReduce, t.stream, passes * (2*layers + 1), nil, way.tensor > 1},
		{collective.AllReduce, t.weights, 1, nil, way.data > 1 && t.train},
		{collective.Send, t.stream, passes * (way.stages - 1), []int{0, 1}, way.stages > 1},
	} {
		if !s.done {
			continue
		}
		once, err := alone(net, collective.Request{Kind: s.kind, Bytes: s.bytes, Ranks: s.ranks, Format: t.format})
		if err != nil {
			return job{}, err
		}
		us += float64(once * float64(s.times))
	}
	read := func(b *run.Brief) prediction {
		p := one.read(b)
		if way.stages > 1 {
			first, last := ends(b, "embed"), ends(b, "final", "head", "loss")
			n, m := float64(way.stages), float64(way.micro)
			p.us = float64(n*p.us) - float64((n-1)*(first.us+last.us)) + float64((m-1)*(p.us-first.us))
			p.bound = float64(n*p.bound) - float64((n-1)*(first.bound+last.bound)) + float64((m-1)*(p.bound-first.bound))
			p.flops = m * (float64(n*p.flops) - float64((n-1)*(first.flops+last.flops)))
			p.bytes = m * (float64(n*p.bytes) - float64((n-1)*(first.bytes+last.bytes)))
		}
		p.us += us
		return p
	}
	return job{key: fmt.Sprintf("%s over %+v", one.key, way), weight: one.weight, simulate: one.simulate, read: read}, nil
}

// alone is how long a collective takes by itself, in microseconds.
func alone(net *fabric.Net, req collective.Request) (float64, error) {
	plan, err := collective.New(net, req)
	if err != nil {
		return 0, err
	}
	return float64(net.Prepare(&plan.Job).Alone()) / 1e6, nil
}
