// Package schedule orders the work of a pipeline: for each stage the forward and backward passes of all microbatches, in
// the order in which the stage does them. When they start is the business of sim/pipeline.
//
// Modelled: GPipe, 1F1B with a flush, interleaved 1F1B, PipeDream-2BW, the zero-bubble schedule ZB-H1, and one microbatch
// after the other, in which no two stages work at the same time. A stage of an
// interleaved schedule has several chunks of layers; chunk c of stage s is followed by chunk c of stage s+1, and behind the
// last stage by chunk c+1 of the first. Floor 1.
package schedule

import (
	"fmt"
	"strings"
)

// Kind is what a stage does.
type Kind uint8

const (
	Forward  Kind = iota
	Backward      // gradients of inputs and weights; of inputs alone if the order has weight passes
	Weight        // gradients of weights
)

// Item is one pass of a microbatch through a chunk of a stage.
type Item struct {
	Kind  Kind
	Chunk int32
	Micro int32
}

// Names lists the schedules.
func Names() []string {
	return []string{"gpipe", "1f1b", "interleaved", "2bw", "zero-bubble", "sequential"}
}

// Order returns the passes of each stage, in order: stages x items. micro is the number of microbatches, chunks that of
// chunks of each stage, 1 but for "interleaved".
//
// The error says which numbers do not go together: an interleaved schedule takes microbatches in rounds of as many as
// there are stages (Narayanan et al., arXiv 2104.04473, section 2.2.2).
func Order(name string, stages, micro, chunks int) ([][]Item, error) {
	switch {
	case stages < 1 || micro < 1 || chunks < 1:
		return nil, fmt.Errorf("schedule %s of %d stages, %d microbatches and %d chunks; allowed: 1 or more of each", name, stages, micro, chunks)
	case chunks > 1 && name != "interleaved":
		return nil, fmt.Errorf("schedule %s with %d chunks for each stage; allowed: 1, or schedule interleaved", name, chunks)
	case chunks > 1 && micro%stages != 0:
		return nil, fmt.Errorf("schedule interleaved with %d microbatches on %d stages; allowed: a multiple of the stages", micro, stages)
	}
	out := make([][]Item, stages)
	for s := range out {
		switch name {
		case "gpipe":
			out[s] = gpipe(micro)
		case "1f1b", "2bw":
			out[s] = oneOne(min(stages-s-1, micro), micro)
		case "interleaved":
			out[s] = interleaved(s, stages, micro, chunks)
		case "zero-bubble":
			out[s] = zeroBubble(s, stages, micro)
		case "sequential":
			out[s] = oneOne(0, micro)
		default:
			return nil, fmt.Errorf("unknown schedule %q; allowed: %s", name, strings.Join(Names(), ", "))
		}
	}
	return out, nil
}

// gpipe does all forward passes ahead of all backward passes (Huang et al., arXiv 1811.06965).
func gpipe(micro int) []Item {
	out := make([]Item, 0, 2*micro)
	for m := range micro {
		out = append(out, Item{Forward, 0, int32(m)})
	}
	for m := range micro {
		out = append(out, Item{Backward, 0, int32(m)})
	}
	return out
}

// oneOne does some forward passes and then one backward pass for each forward pass (Narayanan et al., arXiv 1806.03377).
func oneOne(warm, micro int) []Item {
	out := make([]Item, 0, 2*micro)
	for m := range warm {
		out = append(out, Item{Forward, 0, int32(m)})
	}
	for m := range micro {
		if warm+m < micro {
			out = append(out, Item{Forward, 0, int32(warm + m)})
		}
		out = append(out, Item{Backward, 0, int32(m)})
	}
	return out
}

// interleaved is the order of Megatron-LM (forward_backward_pipelining_with_interleaving): rounds of as many microbatches
// as there are stages go through one chunk after the other.
func interleaved(stage, stages, micro, chunks int) []Item {
	if chunks == 1 {
		return oneOne(min(stages-stage-1, micro), micro)
	}
	total := micro * chunks
	warm := min(total, 2*(stages-stage-1)+(chunks-1)*stages)
	if micro == stages {
		warm = total
	}
	pass := func(kind Kind, k int) Item {
		chunk := k / stages % chunks
		if kind == Backward {
			chunk = chunks - 1 - chunk
		}
		return Item{kind, int32(chunk), int32(k/(stages*chunks)*stages + k%stages)}
	}
	out := make([]Item, 0, 2*total)
	for k := range warm {
		out = append(out, pass(Forward, k))
	}
	for k := range total {
		if warm+k < total {
			out = append(out, pass(Forward, warm+k))
		}
		out = append(out, pass(Backward, k))
	}
	return out
}

// zeroBubble is ZB-H1 (Qi et al., arXiv 2401.10241): gradients of weights wait until there is nothing else to do, and no
// more microbatches are in flight than with 1F1B.
func zeroBubble(stage, stages, micro int) []Item {
	warm := min(stages-stage, micro)
	out := make([]Item, 0, 3*micro)
	for m := range warm {
		out = append(out, Item{Forward, 0, int32(m)})
	}
	weights := 0
	for m := range micro {
		out = append(out, Item{Backward, 0, int32(m)})
		// The stage at position s from the front may leave s gradients of weights open.
		if m >= stage {
			out = append(out, Item{Weight, 0, int32(weights)})
			weights++
		}
		if warm+m < micro {
			out = append(out, Item{Forward, 0, int32(warm + m)})
		}
	}
	for ; weights < micro; weights++ {
		out = append(out, Item{Weight, 0, int32(weights)})
	}
	return out
}

// Passes is the order of inference: forward passes alone.
func Passes(stages, micro int) [][]Item {
	out := make([][]Item, stages)
	for s := range out {
		for m := range micro {
			out[s] = append(out[s], Item{Forward, 0, int32(m)})
		}
	}
	return out
}
