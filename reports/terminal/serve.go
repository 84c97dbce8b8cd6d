package terminal

import (
	"fmt"
	"io"

	"maru/reports/human"
	"maru/sim/result"
)

// serveParts says what the parts of a request's time are.
var serveParts = map[string]string{
	"queue": "waits for prefill", "prefill": "prefill", "transfer": "cache on its way", "room": "waits for room to decode", "step": "waits for the next step",
	"decode": "decode",
}

// Serve writes a plan of inference on groups of chips: its degrees, how long a request takes, and what other assumptions and
// other plans would give.
func Serve(w io.Writer, r *result.Serve, o Options) error {
	p := &page{color: o.Color}
	p.line("%s", p.paint(bold, fmt.Sprintf("%s on %s chips of %s (%s)", r.Model, human.Count(int64(r.Chips)), r.SystemTitle, r.Shape)))
	p.line("")
	used := r.Prefill.Groups*r.Prefill.TP*r.Prefill.PP + r.Decode.Groups*r.Decode.TP*r.Decode.PP
	p.fact("requests", "%s tokens in, %s out, %s · keeps up with %s requests/s", human.Count(r.Prompt), human.Count(r.Output), r.DType, human.SI(r.MaxRequestsPerS, ""))
	p.fact("prefill", "%s · %s a prompt (%s sums) · %s busy", serveGroups(r.Prefill.Groups, r.Prefill.TP, r.Prefill.PP), human.US(r.Prefill.PassUS),
		human.Percent(r.Prefill.Tensor), human.Percent(r.Prefill.Utilization))
	p.fact("decode", "%s · %s a step (%s sums) · %s of %s sequences", serveGroups(r.Decode.Groups, r.Decode.TP, r.Decode.PP), human.US(r.Decode.PassUS),
		human.Percent(r.Decode.Tensor), human.SI(r.Decode.Batch, ""), human.SI(r.Decode.MaxBatch, ""))
	p.fact("chips", "%s at work", human.Count(used))
	p.fact("cache", "%s for a prompt, %s over %s links", human.Bytes(r.KV.Bytes), human.US(r.KV.TransferUS), human.SI(r.KV.Hops, ""))
	if r.KV.RemoteShare > 0 {
		p.fact("elsewhere", "%s of the caches that steps read", human.Percent(r.KV.RemoteShare))
	}
	p.heading(fmt.Sprintf("A request  at %s requests/s, %s tokens/s", human.SI(r.RequestsPerS, ""), human.SI(r.TokensPerS, "")))
	for _, part := range r.Parts {
		p.line("  %-26s %12s  %6s", serveParts[part.Name], human.US(part.TimeUS), human.Percent(part.Share))
	}
	p.line("  %-26s %12s", "in all", human.US(r.LatencyUS))
	p.line("  %-26s %12s", "to the first token", human.US(r.TTFTUS))
	p.line("  %-26s %12s", "from token to token", human.US(r.TPOTUS))
	p.heading("The same plan otherwise")
	p.line("  %-38s %12s %11s %11s %11s", "", "requests/s", "TTFT", "TPOT", "latency")
	for _, c := range r.Cases {
		if !c.KeepsUp {
			p.line("  %-38s %12s %s", c.Name, human.SI(c.MaxRequestsPerS, ""), p.paint(dim, "does not keep up"))
			continue
		}
		p.line("  %-38s %12s %11s %11s %11s", c.Name, human.SI(c.MaxRequestsPerS, ""), human.US(c.TTFTUS), human.US(c.TPOTUS), human.US(c.LatencyUS))
	}
	p.heading("Plans")
	p.line("  %-20s %-20s %12s %11s %11s %11s", "prefill", "decode", "requests/s", "TTFT", "TPOT", "latency")
	for i, c := range r.Others {
		if i == o.top() {
			p.line("  %s", p.paint(dim, human.Count(int64(len(r.Others)-i))+" others"))
			break
		}
		p.line("  %-20s %-20s %12s %11s %11s %11s", serveGroups(c.PrefillGroups, c.PrefillTP, c.PrefillPP), serveGroups(c.DecodeGroups, c.DecodeTP, c.DecodePP),
			human.SI(c.MaxRequestsPerS, ""), human.US(c.TTFTUS), human.US(c.TPOTUS), human.US(c.LatencyUS))
	}
	p.described(r.Warnings, r.Estimated, r.Figures)
	_, err := w.Write(p.Bytes())
	return err
}

// serveGroups is groups with their degrees: "10 x tp 1 pp 4".
func serveGroups(n, tp, pp int64) string {
	text := fmt.Sprintf("%d x tp %d", n, tp)
	if pp > 1 {
		text += fmt.Sprintf(" pp %d", pp)
	}
	return text
}
