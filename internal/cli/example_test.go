package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWorkflow runs the commands of examples/compare.yml, on the suite that is
// shipped, as a change that changes nothing does.
func TestWorkflow(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a suite")
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(repository, "examples", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	workflow, suite := read("compare.yml"), read("suite.yaml")
	t.Chdir(t.TempDir())
	if err := os.Mkdir("head", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("head/suite.yaml", []byte(suite), 0o666); err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for line := range strings.Lines(workflow) {
		_, command, ok := strings.Cut(line, "/bin/maru ")
		if !ok {
			continue
		}
		command, into, _ := strings.Cut(strings.TrimSpace(command), " > ")
		args, err := words(strings.NewReplacer("$SUITE", "suite.yaml", "$TOLERANCE", "1%").Replace(command))
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		out, errs, code := call(args...)
		if code != exitOK {
			t.Errorf("%s: exit code %d: %s", command, code, errs)
		}
		if into != "" && out == "" {
			t.Errorf("%s: nothing for %s", command, into)
		}
		ran[args[0]]++
	}
	if ran["bench"] != 2 || ran["compare"] != 3 || ran["plot"] != 1 {
		t.Errorf("commands of the workflow: %v", ran)
	}
}
