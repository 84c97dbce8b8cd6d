package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/internal/config"
)

// flagError words what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	var unknownFlag *pflag.NotExistError
	var noValue *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknownFlag):
		// "maru rnu --chip x" is about the verb.
		if args := cmd.Flags().Args(); !cmd.HasParent() && len(args) > 0 {
			return unknownVerb(cmd, args[0])
		}
		name := unknownFlag.GetSpecifiedName()
		if short := unknownFlag.GetSpecifiedShortnames(); short != "" {
			// "-chip" is read as four flags of one letter.
			text := fmt.Sprintf("unknown flag -%s", short)
			word, _, _ := strings.Cut(short, "=")
			if cmd.Flags().Lookup(word) != nil {
				return fmt.Errorf("%s; did you mean --%s", text, word)
			}
			return errors.New(text + seeHelp(cmd))
		}
		text := "unknown flag --" + name
		if hint := config.Suggest(name, flagNames(cmd)); hint != "" {
			return fmt.Errorf("%s; did you mean --%s", text, hint)
		}
		return errors.New(text + seeHelp(cmd))
	case errors.As(err, &noValue):
		return fmt.Errorf("--%s: no value", noValue.GetFlag().Name)
	case errors.As(err, &invalid):
		cause := errors.Unwrap(invalid)
		var number *strconv.NumError
		if errors.As(cause, &number) || cause == nil {
			return fmt.Errorf("--%s: %q is not a %s", invalid.GetFlag().Name, invalid.GetValue(), invalid.GetFlag().Value.Type())
		}
		return fmt.Errorf("--%s: %w", invalid.GetFlag().Name, cause)
	}
	return err
}

func seeHelp(cmd *cobra.Command) string {
	name := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()), " ")
	return fmt.Sprintf("; %q lists those that are allowed", strings.TrimSpace(cmd.Root().Name()+" help "+name))
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// count is a whole number of at least 1; 0 is one that was not given.
type count int64

func (c *count) String() string {
	if *c == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*c), 10)
}

func (c *count) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%s is too large", s)
	case err != nil:
		return fmt.Errorf("%q is not a whole number", s)
	case n < 1:
		return fmt.Errorf("%d is below 1", n)
	}
	*c = count(n)
	return nil
}

func (c *count) Type() string { return "N" }

// natural is a whole number of at least 0; nil is none that was given.
type natural struct{ value *uint64 }

func (s *natural) String() string {
	if s.value == nil {
		return ""
	}
	return strconv.FormatUint(*s.value, 10)
}

func (s *natural) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%s is too large", text)
	case err != nil:
		return fmt.Errorf("%q is not a whole number of at least 0", text)
	}
	s.value = &n
	return nil
}

func (s *natural) Type() string { return "N" }

// choice is one of some words; the empty text is none that was given.
type choice struct {
	what  string
	value string
	words []string
	check func(string) error // instead of words, where there are more than can be listed
}

func (c *choice) String() string { return c.value }

func (c *choice) Set(s string) error {
	var err error
	if c.check != nil {
		err = c.check(s)
	} else {
		err = known(c.what, s, c.words)
	}
	if err != nil {
		return err
	}
	c.value = s
	return nil
}

func (c *choice) Type() string { return strings.Join(c.words, "|") }

// group is a set of flags under a heading of the help.
type group struct {
	title string
	flags []*pflag.Flag
}

// groupKey is the annotation of a flag that holds the heading it is under.
const groupKey = "maru-group"

// argKey is the annotation of a flag with the name of its value.
const argKey = "maru-arg"

// addFlags adds a group of flags to a verb. A usage may start with the name of
// the flag's value: "`FILE` where to write".
func addFlags(cmd *cobra.Command, title string, define func(f *pflag.FlagSet)) {
	f := pflag.NewFlagSet(title, pflag.ContinueOnError)
	f.SortFlags = false
	define(f)
	f.VisitAll(func(flag *pflag.Flag) {
		arg := flag.Value.Type()
		if rest, ok := strings.CutPrefix(flag.Usage, "`"); ok {
			arg, flag.Usage, _ = strings.Cut(rest, "` ")
		}
		if arg == "bool" {
			arg = ""
		}
		flag.Annotations = map[string][]string{groupKey: {title}, argKey: {arg}}
	})
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(f)
}

// groups lists a command's flags by heading, in the order they were added.
func groups(cmd *cobra.Command) []group {
	var out []group
	cmd.LocalFlags().SortFlags = false
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if len(f.Annotations[groupKey]) == 0 {
			return // help, which all verbs have
		}
		title := f.Annotations[groupKey][0]
		i := slices.IndexFunc(out, func(g group) bool { return g.title == title })
		if i < 0 {
			i = len(out)
			out = append(out, group{title: title})
		}
		out[i].flags = append(out[i].flags, f)
	})
	return out
}

// usage lists the flags of a group with their meaning.
func (g *group) usage() string {
	const column, width = 25, 92
	var b strings.Builder
	for _, f := range g.flags {
		left := strings.TrimRight("  --"+f.Name+" "+f.Annotations[argKey][0], " ")
		if len(left) > column-2 {
			b.WriteString(left + "\n")
			left = ""
		}
		indent := strings.Repeat(" ", column)
		b.WriteString(wrap(f.Usage, left+indent[len(left):], indent, width) + "\n")
	}
	return b.String()
}

// complete makes a flag's values known to the shell.
func complete(cmd *cobra.Command, flag string, words func() []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return words(), cobra.ShellCompDirectiveDefault
	})
	if err != nil {
		panic(err) // the flag does not exist
	}
}
