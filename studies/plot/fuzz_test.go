package plot

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// Whatever a table holds, it is refused or drawn.
func FuzzDraw(f *testing.F) {
	f.Add(sweep)
	f.Add("a,b,c\n1e308,-1e308,x\n0,1,y\n")
	f.Add("a,b,c\n1,1,1\n1,2,1\n")
	f.Add("a,b\n,\n1,\n")
	f.Add("a,b,c\n1 TB/s,64 KiB,1e-300\n2 TB/s,1 MiB,5e-324\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, "\n") > 50 || len(text) > 2000 {
			return
		}
		for _, kind := range Kinds() {
			tab, err := Read("x.csv", []byte(text))
			if err != nil {
				return
			}
			names := tab.names()
			at := func(i int) string { return names[i%len(names)] }
			o := Options{Kind: kind, X: at(0), Y: []string{at(1)}, Z: at(2), By: at(2), Label: at(0)}
			if kind == "parallel" || kind == "tornado" {
				o.Y, o.By = []string{at(1), at(2)}, at(2)
			}
			fig, err := Draw([]*Table{tab}, o)
			if err != nil {
				continue
			}
			var b bytes.Buffer
			if err := fig.Write(&b, "svg"); err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b.Bytes(), []byte("NaN")) || bytes.Contains(b.Bytes(), []byte("+Inf")) {
				t.Errorf("%s: a place that is no number", kind)
			}
			if err := fig.Write(io.Discard, "pdf"); err != nil {
				t.Fatal(err)
			}
		}
	})
}
