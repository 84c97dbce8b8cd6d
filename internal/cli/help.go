package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const helpName = "help"

func helpVerb() *cobra.Command {
	return &cobra.Command{
		Use:   helpName + " [VERB [VERB]]",
		Short: "Explain a verb",
		Long:  "Help prints what a verb does, its flags and examples. Without a verb it lists them.",
		Example: `  maru help run
  maru run --help`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 2 {
				return fmt.Errorf("unexpected argument %q", args[2])
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return verbs(cmd.Root()), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			if len(args) == 0 {
				return root.Help()
			}
			at := root
			for _, word := range args {
				list := commands(at)
				i := slices.IndexFunc(list, func(c *cobra.Command) bool { return c.Name() == word })
				if i < 0 {
					return unknownVerb(at, word)
				}
				at = list[i]
			}
			return at.Help()
		},
	}
}

// orderKey is the annotation of a verb with its place in the help.
const orderKey = "maru-order"

// commands lists the verbs of a command in the order of the help.
func commands(cmd *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b *cobra.Command) int {
		return cmp.Compare(a.Annotations[orderKey], b.Annotations[orderKey])
	})
	return out
}

// exitCodes explains the exit codes.
const exitCodes = `  0   the command did what it was asked to
  1   it worked and found something: a regression, a failed bar
  2   a mistake on the command line or in a file
  3   two results that cannot be compared
  70  a defect in the program
`

// help prints the help of a command.
func help(cmd *cobra.Command, _ []string) {
	io.WriteString(cmd.OutOrStdout(), helpText(cmd)) // the writer keeps its error
}

// helpText is the help of a command.
func helpText(cmd *cobra.Command) string {
	var b strings.Builder
	section := func(title, text string) {
		if text = strings.TrimRight(text, "\n"); text != "" {
			fmt.Fprintf(&b, "\n%s:\n%s\n", title, text)
		}
	}
	fmt.Fprintf(&b, "%s.\n", cmd.Short)
	use := cmd.UseLine()
	if !cmd.HasParent() {
		use = cmd.CommandPath() + " VERB [ARGUMENTS] [FLAGS]"
	}
	fmt.Fprintf(&b, "\nUsage:\n  %s\n\n%s\n", use, strings.TrimSpace(cmd.Long))
	if list := commands(cmd); len(list) > 0 {
		for _, g := range cmd.Groups() {
			var s strings.Builder
			for _, c := range list {
				if c.GroupID == g.ID {
					fmt.Fprintf(&s, "  %-11s %s\n", c.Name(), c.Short)
				}
			}
			section(g.Title, s.String())
		}
	}
	for _, g := range groups(cmd) {
		section(g.title, g.usage())
	}
	section("Examples", cmd.Example)
	if cmd.HasParent() {
		return b.String()
	}
	section("Exit codes", exitCodes)
	fmt.Fprintf(&b, "\n%q explains a verb.\n", cmd.Name()+" help VERB")
	return b.String()
}
