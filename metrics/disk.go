package metrics

import "github.com/prometheus/client_golang/prometheus"

// Folder is a folder whose file system is watched. Of says what it is for, and
// is a label: one of a few words.
type Folder struct{ Of, Path string }

// RegisterDisks adds the room on the file systems of some folders, as an
// ordinary user has it. A folder that cannot be looked at has no value.
func RegisterDisks(reg prometheus.Registerer, folders ...Folder) {
	g := new(gauges)
	free := g.desc("mtor_disk_free_bytes", "Bytes that can still be written to the file system of a folder of mtor's.", "of")
	size := g.desc("mtor_disk_size_bytes", "Size of the file system of a folder of mtor's.", "of")
	g.read = func(ch chan<- prometheus.Metric) {
		for _, f := range folders {
			if have, all, err := DiskRoom(f.Path); err == nil {
				constant(ch, free, float64(have), f.Of)
				constant(ch, size, float64(all), f.Of)
			}
		}
	}
	reg.MustRegister(g)
}
