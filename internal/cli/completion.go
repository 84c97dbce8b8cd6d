package cli

import (
	"github.com/spf13/cobra"
)

func completionVerb(e *env) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a completion script for a shell",
		Long: `Completion prints a script that makes a shell complete verbs, flags, and the names
of chips and models.`,
		Example: `  source <(maru completion bash)
  maru completion zsh > "${fpath[1]}/_maru"
  maru completion fish > ~/.config/fish/completions/maru.fish`,
		ValidArgs: shells,
		Args:      oneOf("shell", shells),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.out, true)
			case "zsh":
				return root.GenZshCompletion(e.out)
			case "fish":
				return root.GenFishCompletion(e.out, true)
			}
			return root.GenPowerShellCompletionWithDesc(e.out)
		},
	}
}
