package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manVerb(e *env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man --out DIR",
		Short: "Write the manual pages",
		Long: `Man writes a page for the program and one for each verb into a folder, which it
makes: maru.1, maru-run.1, and so on.`,
		Example: `  maru man --out man
  man man/maru-run.1`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			root := cmd.Root()
			return e.save(dir, func(tmp string) error {
				for _, c := range append(commands(root), root) {
					if err := os.WriteFile(filepath.Join(tmp, pageName(c)+".1"), []byte(page(c)), 0o666); err != nil {
						return err
					}
				}
				return nil
			}, e.out)
		},
	}
	addFlags(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&dir, "out", "man", "`DIR` folder to write to (default man)")
	})
	return cmd
}

// pageName is the name of a command's manual page.
func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// roff escapes text for a manual page.
func roff(s string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// page is the manual page of a command, in roff with the man macros.
func page(cmd *cobra.Command) string {
	var b strings.Builder
	name := pageName(cmd)
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s\" \"Maru\"\n", strings.ToUpper(roff(name)), program)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(strings.ToLower(cmd.Short[:1])+cmd.Short[1:]))
	use := cmd.UseLine()
	if !cmd.HasParent() {
		use = "maru VERB [ARGUMENTS] [FLAGS]"
	}
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(use))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(strings.TrimSpace(cmd.Long)))
	preformatted := func(title, text string) {
		if text = strings.TrimRight(text, "\n"); text != "" {
			fmt.Fprintf(&b, ".SH %s\n.nf\n%s\n.fi\n", roff(strings.ToUpper(title)), roff(text))
		}
	}
	for _, g := range groups(cmd) {
		preformatted(g.title, g.usage())
	}
	var list []string
	for _, c := range commands(cmd) {
		list = append(list, fmt.Sprintf("  %-11s %s", c.Name(), c.Short))
	}
	preformatted("Verbs", strings.Join(list, "\n"))
	preformatted("Exit status", exitCodes)
	preformatted("Examples", cmd.Example)
	see := []string{"maru(1)"}
	if !cmd.HasParent() {
		see = nil
		for _, c := range commands(cmd) {
			see = append(see, pageName(c)+"(1)")
		}
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", roff(strings.Join(see, ", ")))
	return b.String()
}
