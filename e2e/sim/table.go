package sim

import (
	"fmt"
	"strings"
	"time"
)

// row is what came of swarms of one size.
type row struct {
	clients int
	results [3]Result     // a flash crowd; with churn; half of it with halves
	took    time.Duration // on this machine
}

// table is such rows, in Markdown.
type table []row

func (t table) String() string {
	var b strings.Builder
	b.WriteString("| clients | flash crowd | seeder sent | one killed every second | seeder sent | half begin with halves | seeder sent | simulated in |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, r := range t {
		fmt.Fprintf(&b, "| %d ", r.clients)
		for _, x := range r.results {
			fmt.Fprintf(&b, "| %.2f | %.2f ", x.Ratio(), x.Sent)
		}
		fmt.Fprintf(&b, "| %s |\n", r.took.Round(time.Second))
	}
	return b.String()
}
