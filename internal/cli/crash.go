package cli

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
)

// crashFrames bounds the frames of a report.
const crashFrames = 12

// crash reports a panic and returns its exit code.
func crash(w io.Writer, args []string, cause any) int {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n\"'`$\\*?;&|<>(){}") {
			quoted[i] = strconv.Quote(a)
		}
	}
	fmt.Fprintf(w, `maru: internal error: %v

This is a defect in maru and not in your input. Please report it on the project's
issue tracker with the text below and the files that the command reads.

  version  %s (%s)
  command  maru %s
`, cause, program, platform(), strings.Join(quoted, " "))
	for i, f := range frames() {
		label := "        "
		if i == 0 {
			label = "at      "
		}
		fmt.Fprintf(w, "  %s %s\n", label, f)
	}
	return exitInternal
}

// frames lists the functions that led to the panic, nearest first, without
// those of the runtime and without folders of the machine it was built on.
func frames() []string {
	pcs := make([]uintptr, 64)
	pcs = pcs[:runtime.Callers(1, pcs)]
	it := runtime.CallersFrames(pcs)
	var out []string
	inside := false // the panic itself was seen
	for len(out) < crashFrames {
		f, more := it.Next()
		switch {
		case strings.HasPrefix(f.Function, "runtime."):
			inside = inside || f.Function == "runtime.gopanic"
		case inside:
			out = append(out, f.Function+" "+f.File[strings.LastIndex(f.File, "/")+1:]+":"+strconv.Itoa(f.Line))
		}
		if !more {
			break
		}
	}
	return out
}
