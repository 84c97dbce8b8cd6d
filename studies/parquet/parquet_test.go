package parquet

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

func table(rows int) []Column {
	b := Column{Name: "z first", Texts: make([]string, rows)}
	n := Column{Name: "count", Wholes: make([]int64, rows)}
	f := Column{Name: "a.last", Numbers: make([]float64, rows), Missing: make([]bool, rows)}
	for i := range rows {
		b.Texts[i] = string(rune('a' + i%3))
		n.Wholes[i] = int64(i * i)
		f.Numbers[i] = float64(i) / 3
		f.Missing[i] = i%5 == 4
	}
	return []Column{b, n, f}
}

func TestWrite(t *testing.T) {
	const rows = 1000
	var out, again bytes.Buffer
	for _, w := range []io.Writer{&out, &again} {
		if err := Write(w, "maru test", table(rows), rows); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Error("the same table gives different bytes")
	}
	f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range f.Schema().Columns() {
		names = append(names, c[0])
	}
	if d := cmp.Diff([]string{"z first", "count", "a.last"}, names); d != "" {
		t.Errorf("columns (-want +got):\n%s", d)
	}
	r := parquet.NewReader(f)
	got := make([]parquet.Row, rows)
	if n, err := r.ReadRows(got); n != rows || err != nil && err != io.EOF {
		t.Fatalf("%d rows: %v", n, err)
	}
	for i, row := range got {
		if row[0].String() != string(rune('a'+i%3)) || row[1].Int64() != int64(i*i) || row[2].IsNull() != (i%5 == 4) {
			t.Fatalf("row %d is %v", i, row)
		}
		if !row[2].IsNull() && row[2].Double() != float64(i)/3 {
			t.Fatalf("row %d is %v", i, row)
		}
	}
}

func TestEmpty(t *testing.T) {
	var out bytes.Buffer
	if err := Write(&out, "maru test", []Column{{Name: "a", Texts: []string{}}}, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len())); err != nil {
		t.Error(err)
	}
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestFullDisk(t *testing.T) {
	if err := Write(&full{100}, "maru test", table(1000), 1000); err == nil {
		t.Error("no error on a full disk")
	}
	if err := Write(io.Discard, "maru test", table(10), 11); err == nil {
		t.Error("no error for columns that are too short")
	}
}
