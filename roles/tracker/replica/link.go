package replica

import (
	"time"

	"github.com/mtor-dev/mtor/transport"
)

const (
	// Heartbeat is how often a side that has nothing to say says so.
	Heartbeat = time.Second
	// Dead is how long the other side may be silent.
	Dead = 3 * time.Second

	// maxMessage bounds both kinds of messages. A vector of 100,000 origins
	// fits, that is as many restarts of trackers.
	maxMessage = 4 << 20
	// entriesPerMessage keeps messages near 128 KiB.
	entriesPerMessage = 1000
	// hashesPerMessage is the length of hash strings, in bytes, after which a
	// message takes no more torrents.
	hashesPerMessage = 1 << 20

	// checkEvery is how many heartbeats pass until the giver sums up its list.
	checkEvery = 10
	// maxBuckets bounds the buckets that are repaired at once: a share of the
	// list that is held in memory meanwhile.
	maxBuckets = 8
)

// Patience reads from a stream and gives each read Wait to bring something; 0
// leaves the stream's deadline to others.
type Patience struct {
	Stream transport.Stream
	Wait   time.Duration
}

// Read implements io.Reader.
func (p *Patience) Read(b []byte) (int, error) {
	if p.Wait > 0 {
		if err := p.Stream.SetDeadline(time.Now().Add(p.Wait)); err != nil {
			return 0, err
		}
	}
	return p.Stream.Read(b)
}
