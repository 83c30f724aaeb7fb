package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mtor-dev/mtor/roles/bench"
	"github.com/mtor-dev/mtor/roles/bench/netpath"
)

func TestTransportsAreMeasuredOverAPathThatNoneOfThemOutruns(t *testing.T) {
	t.Parallel()
	if err := netpath.Check(); err != nil {
		t.Skip(err)
	}
	probe, err := netpath.New(netpath.Path{Rate: netpath.MaxRate})
	if errors.Is(err, netpath.ErrRights) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	probe.Close()
	s := standalone(t)
	out := s.runs("bench", "path", "--json", "--rate", "20Mbit", "--rtt", "10ms", "--loss", "2%", "--for", "500ms",
		"--rounds", "1", "--streams", "4", "--peers", "1,2", "--transports", "tcp,quic", "--tcp-congestion", "cubic", "--dir", t.TempDir())
	var got bench.PathReport
	if err := json.Unmarshal([]byte(strings.Join(out, "\n")), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Paths) != 1 {
		t.Fatalf("measured %+v", got)
	}
	p := got.Paths[0]
	if p.Lost == 0 || p.Carried < 10*p.Lost || p.Queue != netpath.MinQueue {
		t.Errorf("%d packets carried, %d lost, a queue of %d bytes", p.Carried, p.Lost, p.Queue)
	}
	var names []string
	for _, row := range p.Rows {
		names = append(names, row.Name())
		if bits := row.Speed.Max * 8e6; bits > float64(p.Rate) || row.Relay == nil || row.Idle == nil {
			t.Errorf("%s, %d peers: %.0f bit/s on a line of %d; relay %v, idle %v", row.Name(), row.Peers, bits, p.Rate, row.Relay, row.Idle)
		}
	}
	if got, want := strings.Join(names, ","), "bare tcp cubic,tcp cubic,tcp cubic,bare quic,quic,quic"; got != want {
		t.Errorf("measured %s", got)
	}
}

func TestPathWithoutTheRightsIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	dir, err := os.MkdirTemp("", "mtor-e2e-") //nolint:usetesting // the folder above the one of testing is only for root
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "mtor") // which others may run, unlike binary
	if err := errors.Join(os.WriteFile(exe, b, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "bench", "path")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "as root") {
		t.Errorf("%v, %q", err, out)
	}
}
