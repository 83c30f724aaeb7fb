package carry

import (
	"bytes"
	"os"
	"strconv"
)

// watchIdle begins to watch what the machine's processors do. The function that
// it returns says what part of them was idle since then.
func watchIdle() (idle func() float64) {
	idleBefore, allBefore := processors()
	return func() float64 {
		idle, all := processors()
		if all <= allBefore {
			return -1
		}
		return float64(idle-idleBefore) / float64(all-allBefore)
	}
}

// processors reads proc_stat(5): the ticks that all processors together were
// idle, and all of them.
func processors() (idle, all int64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, 0
	}
	// user nice system idle iowait irq softirq steal; the guests' are in user.
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, 0
		}
		if all += n; i == 3 || i == 4 {
			idle += n
		}
	}
	return idle, all
}
