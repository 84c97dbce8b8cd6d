package parallel

import (
	"errors"

	"maru/sim/result"
	"maru/studies/run"
)

// Scale runs a plan on several numbers of chips, with as many replicas as they give. The batch stays (strong scaling) or,
// with weak, grows with the chips from that of the first number. The error is that of the first run that fails.
func Scale(in Input, chips []int, weak bool) (*result.Search, error) {
	switch {
	case len(chips) == 0:
		return nil, errors.New("no numbers of chips; allowed: --scale N,N and more")
	case in.Batch == 0:
		return nil, errors.New("no batch given; allowed: --batch N, the sequences of all replicas")
	}
	s, err := New(in)
	if err != nil {
		return nil, err
	}
	out := &result.Search{Version: result.Version, Kind: "plan scale", Program: "maru " + run.Version, System: s.sys.Name, Model: s.model.Name,
		Chips: chips[len(chips)-1], Batch: in.Batch}
	for _, n := range chips {
		one := in
		one.Chips, one.Plan.Data = n, 0
		if weak {
			one.Batch = in.Batch * int64(n) / int64(chips[0])
		}
		r, err := s.Run(one)
		if err != nil {
			return nil, err
		}
		out.Seq = r.Seq
		out.Plans = append(out.Plans, candidate(r))
	}
	return out, nil
}
