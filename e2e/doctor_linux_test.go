package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/roles/demo/process"
)

// finding is a line of what the doctor says.
type finding struct {
	Check, Result, Detail, Mend string
}

func TestTheDoctorFindsAFirewallAndItsCommandsMendIt(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("a network of one's own takes root")
	}
	s := standalone(t)
	name := fmt.Sprintf("mtor-doctor-%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	inside := func(args ...string) []string { return append([]string{"netns", "exec", name}, args...) }
	shell := func(line string) {
		t.Helper()
		if out, err := exec.Command("ip", inside("sh", "-c", line)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	shell("ip link set lo up")
	for _, network := range []string{"tcp", "udp"} {
		shell("iptables -A INPUT -p " + network + " -d 127.0.0.3 --dport 7001 -j DROP")
	}
	for i, other := range []string{"127.0.0.2:7000", "127.0.0.1:7000"} {
		own := fmt.Sprintf("127.0.0.%d:7000", i+1)
		tr := s.start(process.Spec{Name: own, Exe: "ip", Dir: s.dir, Args: inside(binary, "tracker", own, other, fmt.Sprint(i, ".db"), "-")})
		if _, err := tr.Ready(s.ctx); err != nil {
			t.Fatal(err)
		}
	}
	asks := func(code int) map[string]finding {
		t.Helper()
		p := s.start(process.Spec{Name: "doctor", Exe: "ip", Dir: s.dir, Args: inside(binary,
			"doctor", "client", "127.0.0.3:7001", "127.0.0.1:7000", "127.0.0.2:7000", "--json")})
		out, errs, got := s.ends(p)
		var answer struct{ Checks []finding }
		if err := json.Unmarshal([]byte(strings.Join(out, "\n")), &answer); err != nil || got != code {
			t.Fatalf("code %d, %v: %q, %q", got, err, out, errs)
		}
		by := map[string]finding{}
		for _, f := range answer.Checks {
			by[f.Check] = f
		}
		return by
	}

	found := asks(1)
	for _, check := range []string{"own_port_tcp", "own_port_quic"} {
		f := found[check]
		if f.Result != "failed" || !strings.Contains(f.Detail, "not reached by 127.0.0.1:7000") {
			t.Errorf("%s: %+v", check, f)
		}
		if found["tracker_"+strings.TrimPrefix(check, "own_port_")].Result != "ok" {
			t.Errorf("the ways to the trackers: %+v", found)
		}
		mend, ok := strings.CutPrefix(f.Mend, "sudo iptables ")
		if !ok {
			t.Skipf("another firewall's command is installed: %s", f.Mend)
		}
		shell("iptables " + mend)
	}
	found = asks(0)
	for _, check := range []string{"own_port_tcp", "own_port_quic", "trackers_agree"} {
		if found[check].Result != "ok" {
			t.Errorf("mended, %s: %+v", check, found[check])
		}
	}
}
