package cli

import "io"

// clearLine goes to the start of a terminal's line and empties it.
const clearLine = "\r\x1b[K"

// progress shows what the program is doing, in place of what it showed before.
// It shows nothing unless the standard error is a terminal.
func (e *env) progress(what string) {
	if e.live {
		io.WriteString(e.err, clearLine+what+" ...")
		e.shown = true
	}
}

// stopProgress takes away what progress showed, before other text is printed.
func (e *env) stopProgress() {
	if e.shown {
		io.WriteString(e.err, clearLine)
		e.shown = false
	}
}
