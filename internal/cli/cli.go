// Package cli is the command line: one file for each verb, and the flags, exit
// codes and messages they share. It holds no model code; verbs call the studies
// and write their results. It is the only package that prints, that looks at
// the terminal, and that knows the time of day, which never enters a result.
// Floor 5.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"maru/internal/config"
	"maru/studies/run"
)

// Exit codes.
const (
	exitOK       = 0
	exitFinding  = 1  // the command worked and found something: a regression, a failed bar
	exitUsage    = 2  // a mistake on the command line or in a file
	exitDiffers  = 3  // two results that cannot be compared
	exitInternal = 70 // a defect in the program
)

// IO is where a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run executes one command line, without the program's name, and returns its
// exit code. It keeps nothing between calls and may be called concurrently.
func Run(args []string, stdio IO) int {
	return execute(args, stdio, root)
}

// execute is Run with a tree of commands of the caller's choice.
func execute(args []string, stdio IO, tree func(*env) *cobra.Command) (code int) {
	e := &env{
		in:    stdio.In,
		out:   &sticky{w: stdio.Out},
		err:   stdio.Err,
		color: isTerminal(stdio.Out) && os.Getenv("NO_COLOR") == "",
		live:  isTerminal(stdio.Err),
	}
	defer func() {
		if p := recover(); p != nil {
			e.stopProgress()
			code = crash(stdio.Err, args, p)
		}
	}()
	cmd := tree(e)
	cmd.SetArgs(append([]string{}, args...)) // never nil, which cobra takes for os.Args
	cmd.SetIn(stdio.In)
	cmd.SetOut(e.out)
	cmd.SetErr(e.err)
	at, err := cmd.ExecuteC()
	e.stopProgress()
	if err == nil {
		err = e.out.err
	}
	if err == nil {
		return exitOK
	}
	var f *failure
	if errors.As(err, &f) {
		code = f.code
	} else {
		code = exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(e.err, message(at, err, text))
	}
	return code
}

// failure is an error with an exit code of its own. All others exit with
// exitUsage. An empty text is not printed.
type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

// located is an error that says where in a file it is.
type located struct{ error }

func (e located) Unwrap() error { return e.error }

// message puts the command in front of an error. Errors that start with a place
// in a file stay as they are, so that an editor can jump there.
func message(at *cobra.Command, err error, text string) string {
	var in config.Errors
	var one *config.Error
	if errors.As(err, &in) || errors.As(err, &one) || errors.As(err, new(located)) {
		return text
	}
	return at.CommandPath() + ": " + text
}

// env is what the verbs of one call share.
type env struct {
	in    io.Reader
	out   *sticky
	err   io.Writer
	color bool // out is a terminal that shows colours
	live  bool // err is a terminal that shows progress
	shown bool // progress is on the terminal now
}

// sticky keeps the first error of a writer and writes nothing after it.
type sticky struct {
	w   io.Writer
	err error
}

func (s *sticky) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err != nil {
		s.err = fmt.Errorf("cannot write the output: %w", err)
	}
	return n, err
}

// isTerminal reports whether w shows text to a person.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && info.Name() != "null"
}

// warn prints doubts that do not stop a run.
func (e *env) warn(warnings []string) {
	e.stopProgress()
	for _, w := range warnings {
		fmt.Fprintln(e.err, "warning: "+w)
	}
}

// program is the name and version of the program.
const program = "maru " + run.Version

// root makes the tree of commands.
func root(e *env) *cobra.Command {
	var version bool
	cmd := &cobra.Command{
		Use:   "maru",
		Short: "How fast a model runs on an AI accelerator, and why",
		Long: `Maru replays a model, compiled to tiles, on a chip described in a YAML file. It
says how long a run takes, what it waits for, and what would make it faster:
for chips that exist and for chips that do not.`,
		Example: `  maru run --chip h100-sxm --model llama-3.1-8b --phase prefill --out out
  maru run --chip my-chip.yaml --op gemm:m=4096,n=4096,k=4096`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return unknownVerb(cmd, args[0])
			case version:
				return printVersion(e)
			}
			return cmd.Help()
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	cmd.SetHelpFunc(help)
	cmd.SetFlagErrorFunc(flagError)
	cmd.PersistentFlags().BoolP("help", "h", false, "print help and exit")
	cmd.Flags().BoolVar(&version, "version", false, "print the version and exit")
	addVerbs(cmd, "Run models",
		runVerb(e),
		planVerb(e),
		compileVerb(e),
		replayVerb(e),
		sweepVerb(e),
		searchVerb(e),
		benchVerb(e),
		compareVerb(e),
		explainVerb(e),
		plotVerb(e),
		validateVerb(e),
	)
	addVerbs(cmd, "Look at chips and models",
		listVerb(e),
		showVerb(e),
		checkVerb(e),
		schemaVerb(e),
	)
	addVerbs(cmd, "The program itself",
		helpVerb(),
		versionVerb(e),
		completionVerb(e),
		manVerb(e),
	)
	return cmd
}

// addVerbs adds a group of verbs, which help shows in this order.
func addVerbs(root *cobra.Command, title string, list ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	first := len(root.Commands())
	for i, c := range list {
		c.GroupID = title
		c.Annotations = map[string]string{orderKey: fmt.Sprintf("%03d", first+i)}
		c.DisableFlagsInUseLine = true
		if c.Name() == helpName {
			root.SetHelpCommand(c)
		}
		root.AddCommand(c)
	}
}

// unknownVerb is the error about a word that is no verb of cmd.
func unknownVerb(cmd *cobra.Command, word string) error {
	return unknown("verb", word, verbs(cmd))
}

// verbs lists the verbs of a command, in the order in which help shows them.
func verbs(cmd *cobra.Command) []string {
	var names []string
	for _, c := range commands(cmd) {
		names = append(names, c.Name())
	}
	return names
}

// known returns an error about a word that is none of those allowed.
func known(what, word string, allowed []string) error {
	if slices.Contains(allowed, word) {
		return nil
	}
	return unknown(what, word, allowed)
}

// list writes words for a message.
func list(words []string) string { return strings.Join(words, ", ") }

// unknown is the error about a word that is none of those allowed.
func unknown(what, word string, allowed []string) error {
	text := fmt.Sprintf("unknown %s %q; allowed: %s", what, word, list(allowed))
	if hint := config.Suggest(word, allowed); hint != "" {
		text += "; did you mean " + hint
	}
	return errors.New(text)
}

// arguments checks the number of a verb's arguments; names says what they are.
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > len(names):
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		case len(args) < len(names):
			return fmt.Errorf("no %s given", names[len(args)])
		}
		return nil
	}
}
