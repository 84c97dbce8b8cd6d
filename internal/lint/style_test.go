package lint

import (
	"bytes"
	"go/ast"
	"go/format"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFormat(t *testing.T) {
	for _, s := range goFiles(t) {
		out, err := format.Source(s.data)
		if err != nil {
			t.Errorf("%s: %v", s.path, err)
			continue
		}
		if !bytes.Equal(out, s.data) {
			t.Errorf("%s: not as gofmt writes it", s.path)
		}
	}
}

var floorText = regexp.MustCompile(`\b[Ff]loor (\d)\b`)

// Every package says what it is; where it names its floor, the floor is right.
func TestPackageComments(t *testing.T) {
	docs := map[string]string{}
	names := map[string]string{}
	for _, s := range goFiles(t) {
		if s.test() {
			continue
		}
		names[s.dir()] = s.file.Name.Name
		if s.file.Doc != nil {
			if docs[s.dir()] != "" {
				t.Errorf("%s: a second package comment", s.path)
			}
			docs[s.dir()] = s.file.Doc.Text()
		}
	}
	for dir, name := range names {
		start := "Package " + name + " "
		if name == "main" {
			start = "Command " + dir[strings.LastIndex(dir, "/")+1:] + " "
		}
		if !strings.HasPrefix(docs[dir], start) {
			t.Errorf("%s: no package comment that starts with %q", dir, start)
		}
		if m := floorText.FindStringSubmatch(docs[dir]); m != nil {
			if _, floor, ok := find(dir); ok && strconv.Itoa(floor) != m[1] {
				t.Errorf("%s: the package comment says floor %s, the table says %d", dir, m[1], floor)
			}
		}
	}
}

// seeded are packages that draw random numbers from a seed that is part of their
// input.
var seeded = map[string]bool{"studies/search": true}

// Only the command line prints, and only it knows the time of day. Results do
// not depend on chance.
func TestPurity(t *testing.T) {
	banned := map[string]map[string]bool{
		"fmt":  {"Print": true, "Printf": true, "Println": true},
		"os":   {"Stdout": true, "Stderr": true, "Exit": true, "Getenv": true, "LookupEnv": true},
		"time": {"Now": true, "Since": true, "Until": true, "Tick": true, "After": true},
	}
	for _, s := range goFiles(t) {
		if s.test() || s.dir() == "internal/cli" || s.dir() == "cmd/maru" {
			continue
		}
		for _, p := range s.imports() {
			if p == "math/rand/v2" && seeded[s.dir()] {
				continue
			}
			if p == "math/rand" || p == "math/rand/v2" || p == "crypto/rand" || p == "log" || p == "log/slog" || p == "unsafe" {
				t.Errorf("%s: imports %s", s.path, p)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && banned[x.Name][sel.Sel.Name] {
				t.Errorf("%s: %s.%s outside the command line", s.at(sel.Pos()), x.Name, sel.Sel.Name)
			}
			return true
		})
	}
}

// exact lists the functions of package math that give the same bits on every
// processor. The others are approximations in code that differs between
// processors, so no result may pass through them.
var exact = map[string]bool{
	"Abs": true, "Ceil": true, "Copysign": true, "Float32bits": true, "Float32frombits": true,
	"Float64bits": true, "Float64frombits": true, "Floor": true, "Frexp": true, "Inf": true,
	"IsInf": true, "IsNaN": true, "Ldexp": true, "Max": true, "Min": true, "Mod": true, "Modf": true,
	"NaN": true, "Nextafter": true, "Round": true, "RoundToEven": true, "Signbit": true, "Sqrt": true, "Trunc": true,
}

func TestExactArithmetic(t *testing.T) {
	for _, s := range goFiles(t) {
		top, _, _ := strings.Cut(s.dir(), "/")
		if s.test() || (top != "sim" && top != "arch" && top != "workloads" && top != "studies") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "math" && !exact[sel.Sel.Name] {
				t.Errorf("%s: math.%s may differ between processors", s.at(call.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// The words are split so that this file passes its own test.
var (
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	machine    = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:,])(/(home|root|work|Users|tmp|mnt|private|var/folders)/[\w.-]|[A-Z]:\\\w)`)
	conflict   = regexp.MustCompile(`^(<{7}|>{7}|\|{7}) `)
)

func TestText(t *testing.T) {
	for _, s := range sources(t) {
		if !s.text() {
			continue
		}
		verbatim := strings.Contains(s.path, "testdata/fuzz/") || strings.HasSuffix(s.path, ".sum") || s.path == "LICENSE"
		if verbatim {
			continue
		}
		if !utf8.Valid(s.data) && !strings.Contains(s.path, "testdata/") {
			t.Errorf("%s: not UTF-8", s.path)
		}
		if len(s.data) > 0 && s.data[len(s.data)-1] != '\n' && !strings.Contains(s.path, "testdata/") && !strings.HasSuffix(s.path, ".svg") {
			t.Errorf("%s: the last line has no end", s.path)
		}
		for i, line := range strings.Split(string(s.data), "\n") {
			where := s.path + ":" + strconv.Itoa(i+1)
			if unfinished.MatchString(line) {
				t.Errorf("%s: unfinished business: %s", where, strings.TrimSpace(line))
			}
			if machine.MatchString(line) {
				t.Errorf("%s: a path of one machine: %s", where, strings.TrimSpace(line))
			}
			if conflict.MatchString(line) {
				t.Errorf("%s: a merge conflict", where)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links between documents lead somewhere.
func TestLinks(t *testing.T) {
	there := map[string]bool{}
	for _, s := range sources(t) {
		for p := s.path; p != "."; p = path.Dir(p) {
			there[p] = true
		}
	}
	for _, s := range sources(t) {
		if !strings.HasSuffix(s.path, ".md") || strings.Contains(s.path, "testdata/") {
			continue
		}
		for i, line := range strings.Split(string(s.data), "\n") {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				to, _, _ := strings.Cut(m[1], "#")
				if to == "" || strings.Contains(to, "://") {
					continue
				}
				if !there[path.Join(s.dir(), to)] {
					t.Errorf("%s:%d: a link to %s, which is not there", s.path, i+1, to)
				}
			}
		}
	}
}
