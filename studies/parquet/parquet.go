// Package parquet writes tables of results as Apache Parquet, which pandas,
// DuckDB and Spark read. Equal tables give equal bytes. It knows columns of
// texts, whole numbers and numbers, any of which may be missing. Floor 4.
package parquet

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// Column is a column of a table. Exactly one of the lists is used; all columns
// of a table have equally many values.
type Column struct {
	Name    string
	Texts   []string
	Wholes  []int64
	Numbers []float64
	Missing []bool // values that there are not; nil if there are all
}

// rowsOfGroup is how many rows are compressed together.
const rowsOfGroup = 1 << 16

// group is a schema whose columns keep their order.
type group struct {
	parquet.Group
	fields []parquet.Field
}

func (g *group) Fields() []parquet.Field { return g.fields }

// Write writes a table; program is the writer's name in the file. Errors are
// those of w, and of columns that are not equally long.
func Write(w io.Writer, program string, columns []Column, rows int) error {
	g := &group{Group: parquet.Group{}}
	for i := range columns {
		c := &columns[i]
		leaf := parquet.Leaf(parquet.DoubleType)
		switch {
		case len(c.Texts) == rows && c.Texts != nil:
			leaf = parquet.String()
		case len(c.Wholes) == rows && c.Wholes != nil:
			leaf = parquet.Leaf(parquet.Int64Type)
		case len(c.Numbers) != rows:
			return fmt.Errorf("column %s does not have %d values", c.Name, rows)
		}
		g.Group[c.Name] = parquet.Compressed(parquet.Optional(leaf), &parquet.Zstd)
	}
	if len(g.Group) != len(columns) {
		return fmt.Errorf("two columns have the same name")
	}
	byName := map[string]parquet.Field{}
	for _, f := range g.Group.Fields() {
		byName[f.Name()] = f
	}
	for i := range columns {
		g.fields = append(g.fields, byName[columns[i].Name])
	}
	out := parquet.NewGenericWriter[any](w, parquet.NewSchema("results", g), parquet.CreatedBy(program, "", ""), parquet.MaxRowsPerRowGroup(rowsOfGroup))
	row := make(parquet.Row, len(columns))
	for r := range rows {
		for i := range columns {
			row[i] = columns[i].value(r).Level(0, 1, i)
			if columns[i].Missing != nil && columns[i].Missing[r] {
				row[i] = parquet.NullValue().Level(0, 0, i)
			}
		}
		if _, err := out.WriteRows([]parquet.Row{row}); err != nil {
			return err
		}
	}
	return out.Close()
}

func (c *Column) value(r int) parquet.Value {
	switch {
	case c.Texts != nil:
		return parquet.ByteArrayValue([]byte(c.Texts[r]))
	case c.Wholes != nil:
		return parquet.Int64Value(c.Wholes[r])
	}
	return parquet.DoubleValue(c.Numbers[r])
}
