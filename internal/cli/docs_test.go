package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"maru/arch"
	"maru/arch/system"
	"maru/internal/config"
)

// repository is the folder of the module.
const repository = "../.."

// golden compares with a file of the repository, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(repository, name)
	want, err := os.ReadFile(file)
	if *update {
		if string(want) != got {
			if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if err != nil {
		t.Fatalf("%v; \"make update\" writes it", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s is not what it should be; \"make update\" writes it anew (-file +now):\n%s", name, d)
	}
}

func TestReference(t *testing.T) {
	tree := root(&env{out: &sticky{w: io.Discard}})
	var b strings.Builder
	b.WriteString("# The commands\n\nThis is the help that `maru help` prints, made by `make update`.\n")
	for _, c := range append(commands(tree), tree) {
		if c == tree {
			continue
		}
		fmt.Fprintf(&b, "\n- [%s](#%s): %s", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	}
	fmt.Fprintf(&b, "\n\n## maru\n\n```text\n%s```\n", helpText(tree))
	for _, c := range commands(tree) {
		for _, c := range append([]*cobra.Command{c}, commands(c)...) {
			fmt.Fprintf(&b, "\n## %s\n\n```text\n%s```\n", c.CommandPath(), helpText(c))
		}
	}
	golden(t, "docs/cli.md", b.String())
}

const (
	keysStart = "<!-- keys: written by \"make update\" -->\n"
	keysEnd   = "<!-- end of keys -->\n"
)

// TestKeys holds the tables of keys in docs/chips.md and docs/systems.md to the
// types.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		page, what string
		of         reflect.Type
	}{{"docs/chips.md", "chip", reflect.TypeFor[arch.Chip]()}, {"docs/systems.md", "system", reflect.TypeFor[system.System]()}} {
		var b strings.Builder
		b.WriteString("| key | needed | value | meaning |\n|---|---|---|---|\n")
		fmt.Fprintf(&b, "| `base` | no | text | Name of a built-in %s or path of a file that this one changes. |\n", c.what)
		chipKeys(&b, "", c.of, true)
		data, err := os.ReadFile(filepath.Join(repository, c.page))
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := strings.Cut(string(data), keysStart)
		_, after, found := strings.Cut(rest, keysEnd)
		if !ok || !found {
			t.Fatalf("%s has no place for the keys", c.page)
		}
		golden(t, c.page, before+keysStart+b.String()+keysEnd+after)
	}
}

// chipKeys writes a row for each key of a section and of those below it.
func chipKeys(b *strings.Builder, prefix string, section reflect.Type, needed bool) {
	for f := range section.Fields() {
		key, optional, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		typ := f.Type
		need := needed && optional == ""
		path := prefix + key
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		switch text := reflect.TypeFor[string](); {
		case typ.Kind() == reflect.Map && typ.Key() != text:
			path += ".FORMAT"
			typ = typ.Elem()
		case typ.Kind() == reflect.Map && typ.Elem() != text:
			path += ".KIND"
			typ = typ.Elem()
		}
		list := typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct
		if list {
			path += "[]"
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Struct && typ.PkgPath() == reflect.TypeFor[config.Figure[int64]]().PkgPath() {
			value, _ := typ.FieldByName("Value")
			typ = value.Type
		}
		yes := "no"
		if need {
			yes = "yes"
		}
		var value string
		switch v := reflect.New(typ).Interface().(type) {
		case interface{ Units() []string }:
			value = strings.Join(v.Units(), ", ")
			if value == "" {
				value = "number"
			}
		case interface{ Enum() []string }:
			value = strings.Join(v.Enum(), ", ")
		default:
			switch typ.Kind() {
			case reflect.Struct:
				value = "section"
				if list {
					value = "list of sections"
				}
			case reflect.Int64:
				value = "whole number"
			case reflect.Float64:
				value = "number"
			case reflect.Bool:
				value = "true, false"
			case reflect.Slice:
				value = "list of texts"
				if typ.Elem().Kind() == reflect.Int64 {
					value = "list of numbers"
				}
				if e, ok := reflect.New(typ.Elem()).Interface().(interface{ Enum() []string }); ok {
					value = "list of " + strings.Join(e.Enum(), ", ")
				}
			case reflect.Map:
				value = "mapping of texts"
			default:
				value = "text"
			}
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", path, yes, value, f.Tag.Get("doc"))
		if strings.HasSuffix(value, "section") || list {
			chipKeys(b, path+".", typ, true)
		}
	}
}

// block is a fenced block of a document.
type block struct {
	kind  string // what follows the fence: "sh", "text", "yaml"
	lines []string
	at    int // line of the document, from 1, of the first of lines
}

// blocks returns the fenced blocks of a document.
func blocks(doc string) []block {
	var out []block
	var open *block
	for i, line := range strings.Split(doc, "\n") {
		fence, found := strings.CutPrefix(line, "```")
		switch {
		case found && open == nil:
			open = &block{kind: fence, at: i + 2}
		case found:
			out = append(out, *open)
			open = nil
		case open != nil:
			open.lines = append(open.lines, line)
		}
	}
	return out
}

// words splits a command line as a shell does, with single and double quotes.
func words(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	var quote rune
	inside := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inside = r, true
		case r == ' ':
			if inside {
				out = append(out, word.String())
			}
			word.Reset()
			inside = false
		case strings.ContainsRune("|&;<>$`\\*?", r):
			return nil, fmt.Errorf("%q is for a shell", r)
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("an open quote")
	}
	if inside {
		out = append(out, word.String())
	}
	return out, nil
}

// TestDocuments runs the documents. A block of yaml whose first line is
// "# NAME.yaml" becomes that file, as does one with a name behind its kind
// ("csv mine/gemm.csv"). In a block of sh each line that starts with
// "maru" runs, and is expected to succeed unless it ends in "# exits with N";
// lines that start with "make" name a target of the Makefile, and the others
// are left alone. A block of text that follows holds what the commands print,
// with "..." for lines left out at its end. With -update it is written anew.
func TestDocuments(t *testing.T) {
	if testing.Short() {
		t.Skip("runs some dozen commands")
	}
	models, _ := modelPages(t)
	for _, name := range append([]string{"README.md", "docs/chips.md", "docs/calibrate.md", "docs/compare.md", "docs/machines.md", "docs/plans.md", "docs/plots.md", "docs/retarget.md", "docs/sweep.md", "docs/studies.md", "docs/systems.md"}, models...) {
		t.Run(name, func(t *testing.T) { document(t, name) })
	}
}

// writeBlock writes a file of a document.
func writeBlock(t *testing.T, file string, lines []string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestCalibrated finds every key that a chip calls calibrated in
// docs/calibrate.md.
func TestCalibrated(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "docs/calibrate.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range arch.Names() {
		c, _, err := arch.Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range c.Figures() {
			form := f.Path[:strings.LastIndex(f.Path, ".")] + ".FORMAT"
			if f.Calibrated != "" && !strings.Contains(string(page), "`"+f.Path+"`") && !strings.Contains(string(page), "`"+form+"`") {
				t.Errorf("docs/calibrate.md does not say how to measure %s, which %s calls calibrated", f.Path, name)
			}
		}
	}
}

func document(t *testing.T, name string) {
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	t.Chdir(t.TempDir())
	var printed string
	ran, added := 0, 0
	for _, b := range blocks(string(data)) {
		where := func(i int) string { return fmt.Sprintf("%s:%d", name, b.at+i) }
		if _, file, ok := strings.Cut(b.kind, " "); ok {
			writeBlock(t, file, b.lines)
		}
		switch b.kind {
		case "yaml":
			if file, ok := strings.CutPrefix(b.lines[0], "# "); ok && strings.HasSuffix(file, ".yaml") && !strings.Contains(file, " ") {
				writeBlock(t, file, b.lines)
			}
		case "sh":
			printed = ""
			for i, line := range b.lines {
				command, code := line, exitOK
				if c, comment, ok := strings.Cut(line, "  # exits with "); ok {
					command = c
					fmt.Sscan(comment, &code)
				}
				command, _, _ = strings.Cut(command, " # ")
				args, err := words(command)
				switch {
				case err != nil && strings.HasPrefix(line, "maru"):
					t.Errorf("%s: %v", where(i), err)
				case err != nil || len(args) == 0:
				case args[0] == "maru":
					out, errs, got := call(args[1:]...)
					if got != code {
						t.Errorf("%s: exit code %d, want %d: %s", where(i), got, code, errs)
					}
					printed += out + errs
					ran++
				case args[0] == "make":
					for _, target := range args[1:] {
						if !strings.Contains(string(makefile), "\n"+target+":") {
							t.Errorf("%s: the Makefile has no target %q", where(i), target)
						}
					}
				}
			}
		case "text":
			want := strings.Split(strings.TrimRight(printed, "\n"), "\n")
			if n := len(b.lines); n > 0 && b.lines[n-1] == "..." && len(want) >= n {
				want = append(want[:n-1:n-1], "...")
			}
			if d := cmp.Diff(b.lines, want); d != "" {
				if *update {
					at := b.at - 1 + added
					lines = append(lines[:at:at], append(want, lines[at+len(b.lines):]...)...)
					added += len(want) - len(b.lines)
					continue
				}
				t.Errorf("%s: the commands above print something else; \"make update\" writes it anew (-document +now):\n%s", where(0), d)
			}
		}
	}
	if ran == 0 {
		t.Errorf("%s: no commands", name)
	}
	if *update {
		if text := strings.Join(lines, "\n"); text != string(data) {
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
}
