package sim

import (
	"fmt"
	"strings"
)

// row is what came of swarms of one size.
type row struct {
	clients int
	results [3]*Result // a flash crowd; with churn; half of it with halves; nil: not run
	ran     bool       // one of them, at least
}

// table is such rows, in Markdown.
type table []row

func (t table) String() string {
	var b strings.Builder
	b.WriteString("| clients | flash crowd | seeder sent | one killed every second | seeder sent | half begin with halves | seeder sent |\n")
	b.WriteString("|---|---|---|---|---|---|---|\n")
	for _, r := range t {
		fmt.Fprintf(&b, "| %d ", r.clients)
		for _, x := range r.results {
			if x == nil {
				b.WriteString("| - | - ")
				continue
			}
			fmt.Fprintf(&b, "| %.2f | %.2f ", x.Ratio(), x.Sent)
		}
		b.WriteString("|\n")
	}
	return b.String()
}
