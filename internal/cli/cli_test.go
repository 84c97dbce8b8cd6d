package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"maru/sim/result"
)

var update = flag.Bool("update", false, "write what tests compare with anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"maru": func() { os.Exit(Run(os.Args[1:], IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})) },
	})
}

// TestScript runs testdata/script. Besides the commands of testscript there are
//
//	exits CODE COMMAND...  the command ends with the exit code
//	valid FILE             a result that holds all of its own rules
//	same-run A B           results that are equal but for their events
//	json FILE              one JSON value and nothing else
func TestScript(t *testing.T) {
	if testing.Short() {
		t.Skip("runs dozens of commands")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"valid":    valid,
			"same-run": sameRun,
			"json":     oneJSON,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func readResult(ts *testscript.TestScript, name string) *result.Result {
	res, err := result.Read(strings.NewReader(ts.ReadFile(name)))
	if err == nil {
		err = res.Validate()
	}
	if err != nil {
		ts.Fatalf("%s: %v", name, err)
	}
	return res
}

func valid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: valid FILE")
	}
	readResult(ts, args[0])
}

func sameRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same-run A B")
	}
	a, b := readResult(ts, args[0]), readResult(ts, args[1])
	if a.Events == b.Events && a.Events.LayersTotal > 1 {
		ts.Fatalf("the runs did the same work: %+v", a.Events)
	}
	b.Events = a.Events
	if d := cmp.Diff(a, b); d != "" {
		ts.Fatalf("%s and %s differ:\n%s", args[0], args[1], d)
	}
}

func oneJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: json FILE")
	}
	if !json.Valid([]byte(ts.ReadFile(args[0]))) {
		ts.Fatalf("%s is not one JSON value", args[0])
	}
}

// call runs a command line in this process.
func call(args ...string) (stdout, stderr string, code int) {
	var out, err bytes.Buffer
	code = Run(args, IO{In: strings.NewReader(""), Out: &out, Err: &err})
	return out.String(), err.String(), code
}

func TestEveryVerbHasHelp(t *testing.T) {
	tree := root(&env{out: &sticky{w: io.Discard}})
	list := append(commands(tree), tree)
	for _, c := range commands(tree) {
		list = append(list, commands(c)...)
	}
	for _, c := range list {
		args := strings.Fields(c.CommandPath())[1:]
		out, errs, code := call(append(args, "--help")...)
		if code != exitOK || errs != "" {
			t.Errorf("%s --help: exit code %d, %s", c.CommandPath(), code, errs)
		}
		if c.Short == "" || c.Long == "" || c.Example == "" || !strings.Contains(c.Example, "maru") {
			t.Errorf("%s: no short text, long text or example", c.CommandPath())
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short text ends with a full stop", c.CommandPath())
		}
		for _, line := range strings.Split(out, "\n") {
			if len([]rune(line)) > 96 {
				t.Errorf("%s: a line of %d characters: %s", c.CommandPath(), len(line), line)
			}
		}
		again, _, _ := call(append([]string{"help"}, args...)...)
		if d := cmp.Diff(out, again); d != "" {
			t.Errorf("%s: --help and help differ (-flag +verb):\n%s", c.CommandPath(), d)
		}
	}
}

func TestCallsDoNotMeet(t *testing.T) {
	t.Parallel()
	commands := [][]string{
		{"version"},
		{"list", "models"},
		{"list", "chps"},
		{"run", "--help"},
		{"help", "compile"},
		{"run", "--chip", "h100-sxm", "--op", "gemm:m=256,n=256,k=256", "--json", "--jobs", "4"},
		{"compile", "--chip", "h100-sxm", "--op", "gemm:m=256,n=256,k=256", "--trace", "-"},
		{"show", "chip", "tpu-v4"},
		{"__complete", "run", "--chip", "h"},
	}
	type outcome struct {
		Out, Err string
		Code     int
	}
	one := func(args []string) outcome {
		out, errs, code := call(args...)
		return outcome{out, errs, code}
	}
	dir := t.TempDir() // all write the same files into it
	commands = append(commands, []string{"run", "--chip", "h100-sxm", "--op", "gemm:m=512,n=512,k=512", "--json", "--out", dir})
	want := make([]outcome, len(commands))
	for i, args := range commands {
		want[i] = one(args)
	}
	var wg sync.WaitGroup
	for range 2 {
		for i, args := range commands {
			wg.Go(func() {
				if d := cmp.Diff(want[i], one(args)); d != "" {
					t.Errorf("maru %s (-alone +together):\n%s", strings.Join(args, " "), d)
				}
			})
		}
	}
	wg.Wait()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 11 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

func TestPanicIsReported(t *testing.T) {
	var errs bytes.Buffer
	tree := func(*env) *cobra.Command {
		return &cobra.Command{Use: "maru", RunE: func(*cobra.Command, []string) error {
			var p *result.Result
			p.LatencyPS++
			return nil
		}}
	}
	code := execute([]string{"a b", "--x=$y"}, IO{In: strings.NewReader(""), Out: io.Discard, Err: &errs}, func(e *env) *cobra.Command {
		c := tree(e)
		c.Args = cobra.ArbitraryArgs
		c.FParseErrWhitelist.UnknownFlags = true
		return c
	})
	if code != exitInternal {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		"maru: internal error: runtime error: invalid memory address",
		"Please report it",
		program,
		`command  maru "a b" "--x=$y"`,
		"at       maru/internal/cli.TestPanicIsReported",
		"cli_test.go:",
	} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, errs.String())
		}
	}
	if strings.Contains(errs.String(), "/usr/") || strings.Contains(errs.String(), "runtime.gopanic") {
		t.Errorf("the report holds folders or frames of the runtime:\n%s", errs.String())
	}
}

// full is a writer without room.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return 0, errors.New("no space left on device")
	}
	f.room -= len(p)
	return len(p), nil
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	for _, args := range [][]string{
		{"version"},
		{"list", "ops"},
		{"list", "chips"},
		{"help"},
		{"schema", "chip"},
		{"show", "model", "gpt2"},
		{"run", "--chip", "h100-sxm", "--op", "gemm:m=256,n=256,k=256"},
		{"run", "--chip", "h100-sxm", "--op", "gemm:m=256,n=256,k=256", "--json"},
		{"compile", "--chip", "h100-sxm", "--op", "gemm:m=256,n=256,k=256", "--trace", "-"},
		{"completion", "bash"},
	} {
		var errs bytes.Buffer
		code := Run(args, IO{In: strings.NewReader(""), Out: &full{2}, Err: &errs})
		if code != exitUsage || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("maru %s: exit code %d, %s", strings.Join(args, " "), code, errs.String())
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "> "},
		{"one", "> one"},
		{"one two three", "> one two\n  three"},
		{"longerthanthewidth two", "> longerthanthewidth\n  two"},
		{"  spaces \n between ", "> spaces\n  between"},
	} {
		if got := wrap(tt.text, "> ", "  ", 10); got != tt.want {
			t.Errorf("wrap(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
