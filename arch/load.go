package arch

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"maru/arch/unit"
	"maru/configs"
	"maru/internal/config"
)

// kind is the folder of chips among the embedded configurations.
const kind = "chips"

// Load reads a chip by the name of an embedded configuration or from a file, applies overrides ("PATH=VALUE", see
// [config.Doc.Set]), and validates the outcome. A word is the name of an embedded chip if there is one; otherwise a text
// with a separator, one that ends in .yaml or .yml, and the name of an existing file are files.
//
// A file may name its base: "base: h100-sxm" for an embedded chip, or another file, relative to its own folder.
//
// The document is the resolved description, for printing it and for sweeps (see [Decode]). The error is of type
// [config.Errors], with everything that is wrong with the file, unless it cannot be read.
func Load(nameOrPath string, sets []string) (*Chip, *config.Doc, error) {
	src, _, err := open(nameOrPath, "", isFile(nameOrPath))
	if err != nil {
		return nil, nil, err
	}
	return Parse(src.Data, src.Name, sets)
}

// Parse is Load for the text of a file. A base that is a file is relative to the folder of filename.
func Parse(data []byte, filename string, sets []string) (*Chip, *config.Doc, error) {
	dir := filepath.Dir(filename)
	doc, err := config.Load(config.Source{Name: filename, Data: data}, func(name string) (src config.Source, err error) {
		src, dir, err = open(name, dir, false)
		return src, err
	})
	if err != nil {
		return nil, nil, err
	}
	if err := doc.Apply(sets, "memory.dram.bandwidth=4 TB/s"); err != nil {
		return nil, nil, err
	}
	c, err := Decode(doc)
	if err != nil {
		return nil, nil, err
	}
	return c, doc, nil
}

// Decode turns a loaded document into a chip and validates it. A sweep clones the document, sets a value and decodes:
// each point is then checked as a file is. The error is of type [config.Errors].
func Decode(doc *config.Doc) (*Chip, error) {
	c := &Chip{}
	c.Cores.Matrix.Sustained.Value = 1
	c.Cores.Matrix.SyncShare.Value = 1
	var errs config.Errors
	if err := doc.Decode(c); err != nil && !errors.As(err, &errs) {
		return nil, err
	}
	errs = append(errs, check(c, doc, errs)...)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	c.allDies()
	c.fill()
	return c, nil
}

// zeroData is the share of the energy of arithmetic that is left when all operands are zero: clock tree, pipeline
// registers and issue, without what switches in multipliers, adders and on the wires of operands. The figures of A100,
// H100, B200 and L40S put these at 0.8 of the datapath and its operands, so at 0.8/1.8 of the whole; Gregersen et al.
// 2024 (arXiv 2409.18324) find that the input of a matrix product changes the power of a GPU by almost 40 %, which 0.44
// of the dynamic power and all of the static power come to.
const zeroData = 0.44

// fill gives optional figures that are missing the values that their keys document. They stay without position, so they
// do not count as figures of the chip.
func (c *Chip) fill() {
	if !c.Clock.Min.IsSet() {
		c.Clock.Min.Value = c.Clock.Spec.Value / 4
	}
	if p := c.Power; p != nil && !p.Zero.IsSet() {
		p.Zero.Value = zeroData
	}
	if s := &c.Cores.Scratchpad; !s.Group.IsSet() {
		s.Group.Value = s.Capacity.Value
	}
	if e := c.Embedding; e != nil && !e.Scratchpad.Group.IsSet() {
		e.Scratchpad.Group.Value = e.Scratchpad.Capacity.Value
	}
	if l2 := c.Memory.L2; l2 != nil {
		if !l2.Partitions.IsSet() {
			l2.Partitions.Value = 1
		}
		if !l2.Far.IsSet() {
			l2.Far.Value = l2.Latency.Value
		}
	}
	if s := c.Memory.Shared; s != nil && s.Mesh != nil {
		// Programs are laid out on the cores that work, and on their memory.
		alive := 1 - float64(s.Mesh.Dead.Value)
		c.Cores.Count.Value = int64(float64(c.Cores.Count.Value) * alive)
		s.Capacity.Value = unit.Bytes(int64(float64(s.Capacity.Value) * alive))
	}
	if e := c.Memory.External; e != nil && !e.Sustained.IsSet() {
		e.Sustained.Value = 1
	}
	if d := &c.Memory.DRAM; !d.Loaded.IsSet() {
		d.Loaded.Value = d.Latency.Value
	}
}

// Names lists the embedded chips in alphabetical order.
func Names() []string { return configs.Names(kind) }

// Titles maps the names of the embedded chips to their full product names.
func Titles() map[string]string { return maps.Clone(titles()) }

var titles = sync.OnceValue(func() map[string]string {
	titles := map[string]string{}
	for _, name := range Names() {
		c, _, err := Load(name, nil)
		if err != nil {
			panic(err) // a test loads all embedded chips
		}
		titles[name] = c.Title
	}
	return titles
})

// Schema returns the JSON Schema of chip files.
func Schema() []byte { return config.Schema(Chip{}, "Maru chip", true) }

// embedded reports whether there is an embedded chip of the name.
func embedded(name string) bool { return slices.Contains(Names(), name) }

// looksLikeFile reports whether a text can only be meant as the path of a file.
func looksLikeFile(s string) bool {
	return strings.ContainsAny(s, `/\`) || strings.HasSuffix(s, ".yaml") || strings.HasSuffix(s, ".yml")
}

// isFile reports whether a text on the command line is the path of a file.
func isFile(s string) bool {
	if embedded(s) || looksLikeFile(s) {
		return false
	}
	info, err := os.Stat(s)
	return err == nil && info.Mode().IsRegular()
}

// open reads an embedded chip, or a file relative to a folder. It returns the folder to which a base of what it has read
// is relative.
func open(name, dir string, file bool) (config.Source, string, error) {
	if embedded(name) {
		file, data, err := configs.Read(kind, name)
		return config.Source{Name: file, Data: data}, dir, err
	}
	if !file && !looksLikeFile(name) {
		return config.Source{}, dir, unknown(name)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	data, err := os.ReadFile(name)
	return config.Source{Name: name, Data: data}, filepath.Dir(name), err
}

// unknown returns the error about a name that no embedded chip has, with those that are close: that contain the word or
// are contained in it, and the one with the fewest other letters.
func unknown(name string) error {
	e := &config.NameError{What: "chip", Text: name, Names: append(Names(), "a path to a .yaml file")}
	var near []string
	word := plain(name)
	best := config.Suggest(name, Names())
	for _, n := range Names() {
		contained := len(word) >= 2 && (strings.Contains(plain(n), word) || strings.Contains(word, plain(n)))
		if contained || n == best {
			near = append(near, n)
		}
	}
	e.Hint = strings.Join(near, " or ")
	return e
}

// plain drops what spellings of a chip's name differ in.
func plain(name string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))
}
