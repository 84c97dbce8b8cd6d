//go:build !linux && !darwin

package cli

import "io"

// terminalWidth is 0: not known.
func terminalWidth(io.Writer) int { return 0 }
