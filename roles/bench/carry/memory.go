package carry

import (
	"runtime/metrics"
	"time"
)

// memoryEvery is how often the memory of this process is looked at. It takes
// longer to receive what would escape the look.
const memoryEvery = 2 * time.Millisecond

// watchMemory looks at the memory that this process has from the system, until
// the function that it returns is called, which says by how many bytes it grew
// at most.
func watchMemory() (grown func() int64) {
	base := memory()
	stop, most := make(chan struct{}), make(chan int64)
	go func() { // ends with the call of grown
		tick := time.NewTicker(memoryEvery)
		defer tick.Stop()
		peak := base
		for {
			select {
			case <-tick.C:
				peak = max(peak, memory())
			case <-stop:
				most <- max(peak, memory()) - base
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-most
	}
}

// memory is what the Go runtime has from the system and has not given back.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
