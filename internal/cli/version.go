package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/sim/result"
	"maru/workloads/trace"
)

func versionVerb(e *env) *cobra.Command {
	var libraries bool
	cmd := &cobra.Command{
		Use:   "version [--libraries]",
		Short: "Print the version",
		Long: `Version prints the version of the program and of the file formats it writes. Files
of these versions and of all older ones are read.`,
		Example: `  maru version`,
		Args:    arguments(),
		RunE: func(*cobra.Command, []string) error {
			err := printVersion(e)
			if libraries {
				for _, m := range modules() {
					fmt.Fprintln(e.out, m)
				}
			}
			return err
		},
	}
	addFlags(cmd, "Flags", func(f *pflag.FlagSet) {
		f.BoolVar(&libraries, "libraries", false, "print the versions of the libraries in the program too")
	})
	return cmd
}

func printVersion(e *env) error {
	_, err := fmt.Fprintf(e.out, "%s\nresult format %d, trace format %d\n%s\n", program, result.Version, trace.Version, platform())
	return err
}

// platform names what the program was built with and runs on.
func platform() string { return runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH }

// modules names the versions of the libraries in the program.
func modules() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	var out []string
	for _, m := range info.Deps {
		out = append(out, m.Path+" "+m.Version)
	}
	return out
}
