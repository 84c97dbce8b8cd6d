package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"maru/arch"
	"maru/arch/system"
	"maru/internal/config"
	"maru/studies/bench"
	"maru/studies/study"
	"maru/workloads/model"
)

func schemaVerb(e *env) *cobra.Command {
	kinds := []string{"chip", "model", "system", "study", "suite"}
	return &cobra.Command{
		Use:   "schema chip|model|system|study|suite",
		Short: "Print the JSON Schema of chip, model, system, study or suite files",
		Long: `Schema prints the JSON Schema (draft 2020-12) of the YAML files that describe
chips, models, systems, studies or suites of runs, with the meaning of each key. Editors
use it to complete and to check such files while they are written.`,
		Example:   `  maru schema chip`,
		ValidArgs: kinds,
		Args:      oneOf("kind", kinds),
		RunE: func(_ *cobra.Command, args []string) error {
			schema := arch.Schema()
			switch args[0] {
			case "model":
				schema = config.Schema(model.Model{}, "Maru model", false)
			case "study":
				schema = study.Schema()
			case "suite":
				schema = bench.Schema()
			case "system":
				schema = system.Schema()
			}
			_, err := e.out.Write(schema)
			return err
		},
	}
}

// oneOf checks that the only argument is one of some words.
func oneOf(what string, words []string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("no " + what + " given; allowed: " + list(words))
		}
		if len(args) > 1 {
			return fmt.Errorf("unexpected argument %q", args[1])
		}
		return known(what, args[0], words)
	}
}
