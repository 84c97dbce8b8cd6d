package lint

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// floors says how high each package stands. A package imports packages of lower
// floors only. A name that ends in /... stands for a folder and all below.
var floors = map[string]int{
	"sim/event":           0,
	"sim/fold":            0,
	"arch/unit":           0,
	"arch/dtype":          0,
	"internal/config":     0,
	"internal/lint":       0,
	"internal/goldentest": 0,
	"configs":             0,

	"arch":                   1,
	"arch/system":            1,
	"arch/system/systemtest": 1,
	"workloads/graph":        1,
	"workloads/plan":         1,
	"workloads/schedule":     1,
	"workloads/trace":        1,
	"sim/result":             1,
	"sim/result/resulttest":  1,

	"arch/area":       2,
	"sim/fabric":      2,
	"sim/pipeline":    2,
	"workloads/eager": 2,
	"workloads/model": 2,
	"sim/bound":       2,
	"sim/machine":     2,
	"reports/...":     2,

	"sim/cycle":          3,
	"workloads/compile":  3,
	"workloads/parallel": 3,

	"workloads/parallel/collective": 3,

	"studies/...": 4,

	"internal/cli": 5,

	"cmd/maru": 6,
}

// beside lists imports of a package on the same floor, with the reason. They
// have an order, so no two packages import each other.
var beside = map[[2]string]string{
	{"arch/system", "arch"}:                   "a system is made of chips",
	{"arch/system/systemtest", "arch/system"}: "makes systems for tests",
	{"workloads/trace", "workloads/graph"}:    "a tensor of a trace has the role it has in the graph",
	{"sim/result/resulttest", "sim/result"}:   "makes results for tests",
	{"reports/...", "reports/human"}:          "all reports write quantities alike",
	{"studies/...", "studies/run"}:            "a study is many runs",
	{"studies/...", "studies/parallel"}:       "a study is many runs, on many chips too",
	{"studies/study", "studies/serve"}:        "a point of a study may be a plan of serving",
	{"studies/...", "studies/study"}:          "sweeps and searches run the points of a study file",
	{"studies/search", "studies/sweep"}:       "a search runs points as a sweep does",
	{"studies/...", "studies/parquet"}:        "tables of studies are written in this form, too",
}

// find returns the floor of a package and the entry of floors it falls under.
func find(dir string) (entry string, floor int, ok bool) {
	if f, ok := floors[dir]; ok {
		return dir, f, true
	}
	for parent := dir; strings.Contains(parent, "/"); {
		parent = parent[:strings.LastIndex(parent, "/")]
		if f, ok := floors[parent+"/..."]; ok {
			return parent + "/...", f, true
		}
	}
	return "", 0, false
}

func TestFloors(t *testing.T) {
	missing := map[string]bool{}
	for _, s := range goFiles(t) {
		from := s.dir()
		entry, floor, ok := find(from)
		if !ok {
			if !missing[from] {
				t.Errorf("%s: the package has no floor; enter it in the table of this test", from)
			}
			missing[from] = true
			continue
		}
		for _, p := range s.imports() {
			to, ok := strings.CutPrefix(p, module+"/")
			if !ok || to == from {
				continue
			}
			_, below, ok := find(to)
			switch {
			case !ok:
				t.Errorf("%s: imports %s, which has no floor", s.path, to)
			case below < floor:
			case below == floor && (s.test() || allowed(from, entry, to)):
			case below == floor:
				t.Errorf("%s: imports %s of the same floor %d", s.path, to, floor)
			default:
				t.Errorf("%s: imports %s of floor %d, itself on floor %d", s.path, to, below, floor)
			}
		}
	}
}

func allowed(from, entry, to string) bool {
	return beside[[2]string{from, to}] != "" || beside[[2]string{entry, to}] != ""
}

// Reports read results only, so that an old result can always be drawn.
func TestReportsReadResults(t *testing.T) {
	for _, s := range goFiles(t) {
		if s.test() || !strings.HasPrefix(s.dir(), "reports/") {
			continue
		}
		for _, p := range s.imports() {
			if to, ok := strings.CutPrefix(p, module+"/"); ok && to != "reports/human" && to != "sim/result" {
				t.Errorf("%s: imports %s; reports read results and nothing else", s.path, to)
			}
		}
	}
}

// testOnly lists libraries that appear in tests and in packages made for tests.
var testOnly = []string{"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "pgregory.net/rapid"}

// owners lists who imports the libraries of others. A library that is not
// listed belongs to the one package that imports it.
var owners = map[string]string{
	"gopkg.in/yaml.v3":                  "internal/config",
	"gonum.org/v1/plot":                 "reports/figure",
	"codeberg.org/go-pdf/fpdf":          "reports/figure",
	"codeberg.org/go-fonts/liberation":  "reports/figure",
	"golang.org/x/image":                "reports/figure",
	"golang.org/x/perf":                 "studies/compare",
	"github.com/jedib0t/go-pretty/v6":   "reports/terminal",
	"github.com/spf13/cobra":            "internal/cli",
	"github.com/spf13/pflag":            "internal/cli",
	"github.com/schollz/progressbar/v3": "internal/cli",
}

// library is the module of an import path, as far as the rules need it.
func library(p string) string {
	for m := range owners {
		if p == m || strings.HasPrefix(p, m+"/") {
			return m
		}
	}
	parts := strings.Split(p, "/")
	return strings.Join(parts[:min(3, len(parts))], "/")
}

func TestLibrariesHaveOneOwner(t *testing.T) {
	users := map[string]map[string]bool{}
	for _, s := range goFiles(t) {
		for _, p := range s.imports() {
			if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") {
				continue
			}
			lib := library(p)
			if slices.ContainsFunc(testOnly, func(m string) bool { return strings.HasPrefix(p, m) }) {
				if !s.test() && !strings.HasSuffix(s.dir(), "test") {
					t.Errorf("%s: imports %s outside of tests", s.path, p)
				}
				continue
			}
			if users[lib] == nil {
				users[lib] = map[string]bool{}
			}
			users[lib][s.dir()] = true
		}
	}
	for _, lib := range slices.Sorted(maps.Keys(users)) {
		dirs := slices.Sorted(maps.Keys(users[lib]))
		if owner := owners[lib]; owner != "" && !slices.Equal(dirs, []string{owner}) {
			t.Errorf("%s is imported by %s; only %s may", lib, strings.Join(dirs, ", "), owner)
		} else if len(dirs) > 1 {
			t.Errorf("%s is imported by %s; a library belongs to one package", lib, strings.Join(dirs, ", "))
		}
	}
}
