package parallel

import (
	"slices"

	"maru/sim/event"
)

// Kinds of communication, in the order in which results list them.
var kinds = [...]string{ofTensor: "tensor", ofPipeline: "pipeline", ofData: "data", ofExpert: "expert", ofContext: "context"}

const (
	ofTensor = iota
	ofPipeline
	ofData
	ofExpert
	ofContext
)

// count adds communication of a kind to what a chip has in an iteration: bytes that it sends, how long they take, and how long
// computing waits for them.
func (e *evaluation) count(kind int, bytes int64, time, exposed event.Time) {
	c := &e.comm[kind]
	c.Bytes += bytes
	c.TimeUS += micros(time)
	c.ExposedUS += micros(exposed)
}

// inner counts the communication of context and expert parallelism and of sharded weights, as the first stage has it.
func (e *evaluation) inner(w *waiting, l *layer) {
	n := slices.Max(e.layers) * e.par.Interleave * int64(e.micro)
	passes := int64(1)
	if e.train {
		passes = 2
	}
	times := func(t event.Time) event.Time { return event.Time(n) * t }

	keys, grads := w.context[0][0], w.contextBack[0][0]
	t, exposed := keys, e.beside(keys, l.core)
	if e.train {
		t += keys + grads
		exposed += e.beside(keys+grads, l.coreBack)
	}
	e.count(ofContext, n*(2*passes-1)*w.keys/e.par.Context*(e.par.Context-1), times(t), times(exposed))

	exchanges := (n - e.dense[0]*int64(e.micro)) * 2 * passes
	t = event.Time(exchanges) * w.exchange[0][0]
	e.count(ofExpert, exchanges*w.routed/e.par.Expert*(e.par.Expert-1), t, t)

	if e.par.Zero == 3 {
		z, replicas := &e.shard, e.par.Data*e.par.Context
		wait := func(comm, work event.Time) event.Time {
			if e.par.Hides("dp") {
				return w.meet[0][0].delay(comm, work, 0)
			}
			return comm
		}
		t, exposed, bytes := z.gather[0], wait(z.gather[0], l.forward), z.gathered
		if e.train {
			back := z.back[0] + z.scatter[0]
			t += back
			exposed += wait(back, l.backward+l.again)
			bytes += z.gathered*z.backs + z.scattered
		}
		e.count(ofData, n*bytes/replicas*(replicas-1), times(t), times(exposed))
	}
}

// once counts what an iteration does once.
func once(int) int64 { return 1 }

// perLayer counts what an iteration of a stage does in each forward and in each backward pass of a layer, and perPass the
// same of as many layers.
func (e *evaluation) perLayer(s int, forward, backward int64) int64 {
	return e.perPass(e.stageLayers(s), forward, backward)
}

func (e *evaluation) perPass(layers, forward, backward int64) int64 {
	if e.train {
		forward += backward
	}
	return forward * layers * int64(e.micro)
}

// tensorUses counts the collectives of tensor parallelism of a stage in an iteration: two in each pass of a layer, one behind
// the embedding and one ahead of the head's gradients; the first kind of two also gathers inputs again.
func (e *evaluation) tensorUses(s int, first bool) int64 {
	n := e.perLayer(s, 2, 2)
	if e.train && e.par.Recompute == "full" {
		n += e.perLayer(s, 2, 0)
	}
	if e.train && e.par.Sequence && first {
		n += e.perLayer(s, 2, 0)
	}
	if s == 0 {
		n += int64(e.micro)
	}
	if s == e.lay.p-1 && e.train {
		n += int64(e.micro)
	}
	return n
}

// sends counts the transfers of a stage to the next one in an iteration, or with step -1 to the one before.
func (e *evaluation) sends(s, step int) (n int64) {
	if step < 0 && !e.train {
		return 0
	}
	for k := s; k < len(e.layers); k += e.lay.p {
		if to := k + step; to >= 0 && to < len(e.layers) {
			n += int64(e.micro)
		}
	}
	return n
}

// tensorCount is how many sums of tensor parallelism, or pairs of gather and scatter, an iteration of the busiest stage has.
func (e *evaluation) tensorCount() int64 {
	if e.par.Tensor == 1 {
		return 0
	}
	per := int64(2)
	if e.train {
		per = 4
		if e.par.Recompute == "full" {
			per = 6
		}
	}
	return per * slices.Max(e.layers) * e.par.Interleave * int64(e.micro)
}

// tensorBytes is what a chip sends for these: 2 (t-1)/t of the activations for each.
func (e *evaluation) tensorBytes(act int64) int64 {
	return e.tensorCount() * 2 * act / e.par.Tensor * (e.par.Tensor - 1)
}
