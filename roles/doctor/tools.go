package doctor

import (
	"errors"
	"fmt"
	"syscall"
)

// Tools is what the commands that mend something are written with. What they
// say of another machine supposes that it is like this one.
type Tools struct {
	// GOOS is the system, as runtime.GOOS has it.
	GOOS string
	// Has reports whether a program is installed.
	Has func(program string) bool
	// SwarmKey is the file of the swarm key, and SetSwarmKey whether no setting
	// names it yet; Settings is the role's own file, if it has one.
	SwarmKey    string
	SetSwarmKey bool
	Settings    string
	// Again is the command that looks again, Start the one that starts the role,
	// TrackerFile the settings file of trackers on their machines.
	Again, Start, TrackerFile string
}

// reach has a tracker be reached: starts one that is off, and otherwise lets
// through what a firewall may hold back.
func (t Tools) reach(err error, off bool, network, port string) string {
	if off {
		return "mtor tracker --config " + t.TrackerFile
	}
	if timedOut(err) || errors.Is(err, syscall.ECONNREFUSED) {
		return t.allow(network, port)
	}
	return ""
}

// swarmKey has this machine hold the swarm key of another.
func (t Tools) swarmKey(host string) string {
	cmd := fmt.Sprintf("scp %s:%s %[2]s", host, quote(t.SwarmKey))
	if t.SetSwarmKey && t.Settings != "" {
		cmd += fmt.Sprintf(" && echo 'swarm_key_file: %s' >> %s", t.SwarmKey, quote(t.Settings))
	}
	return cmd
}

// look shows what a tracker's machine says of it.
func (t Tools) look() string { return "mtor doctor --config " + t.TrackerFile }

// open lets a port through this machine's firewall.
func (t Tools) open(network string, port uint16) string { return t.allow(network, fmt.Sprint(port)) }

func (t Tools) allow(network, port string) string {
	switch {
	case t.GOOS == "windows":
		return fmt.Sprintf(`netsh advfirewall firewall add rule name="mtor %s" dir=in action=allow protocol=%s localport=%s`, network, network, port)
	case t.GOOS != "linux":
		return ""
	case t.Has("ufw"):
		return fmt.Sprintf("sudo ufw allow %s/%s", port, network)
	case t.Has("firewall-cmd"):
		return fmt.Sprintf("sudo firewall-cmd --permanent --add-port=%s/%s && sudo firewall-cmd --reload", port, network)
	}
	return fmt.Sprintf("sudo iptables -I INPUT -p %s --dport %s -j ACCEPT", network, port)
}

// holder shows who has a port.
func (t Tools) holder(port uint16) string {
	switch t.GOOS {
	case "linux":
		return fmt.Sprintf("sudo ss -lntup 'sport = :%d'", port)
	case "windows":
		return fmt.Sprintf("netstat -abno | findstr :%d", port)
	}
	return fmt.Sprintf("sudo lsof -nP -i :%d", port)
}

// addresses shows this machine's IP addresses.
func (t Tools) addresses() string {
	switch t.GOOS {
	case "linux":
		return "ip -brief address"
	case "windows":
		return "ipconfig"
	}
	return "ifconfig"
}

// clock has a machine keep the time of the network.
func (t Tools) clock() string {
	switch t.GOOS {
	case "linux":
		return "sudo timedatectl set-ntp true"
	case "darwin":
		return "sudo sntp -sS time.apple.com"
	case "windows":
		return "w32tm /resync"
	}
	return ""
}

// trust has a tracker list clients behind NAT by the address that they announce.
func (t Tools) trust(source string) string {
	return fmt.Sprintf("mtor tracker --config %s --trust-announced %s", t.TrackerFile, source)
}

// buffers raises the system's bound on the buffers of a socket.
func (t Tools) buffers(want int) string {
	switch t.GOOS {
	case "linux":
		return fmt.Sprintf("sudo sysctl -w net.core.rmem_max=%d net.core.wmem_max=%d", want, want)
	case "darwin", "freebsd":
		return fmt.Sprintf("sudo sysctl -w kern.ipc.maxsockbuf=%d", 2*want)
	}
	return ""
}

// files raises the limit on open files of the shell that it is given in, and of
// what that starts.
func (t Tools) files(want uint64) string {
	if t.GOOS == "linux" {
		return fmt.Sprintf("sudo prlimit --pid $$ --nofile=%d:%d", want, want)
	}
	return fmt.Sprintf("ulimit -n %d", want)
}

// own makes a folder the user's own.
func (t Tools) own(path string, missing bool) string {
	if t.GOOS == "windows" {
		return `icacls "` + path + `" /grant "%USERNAME%:(OI)(CI)M"`
	}
	if missing {
		return fmt.Sprintf(`sudo install -d -m 700 -o "$(id -un)" %s`, quote(path))
	}
	return fmt.Sprintf(`sudo chown -R "$(id -un)" %s && chmod -R u+rwX %[1]s`, quote(path))
}

// aside makes way where something else stands.
func (t Tools) aside(path string) string {
	if t.GOOS == "windows" {
		return `move "` + path + `" "` + path + `.old"`
	}
	return "mv " + quote(path) + " " + quote(path+".old")
}

// room shows what takes the room on a folder's file system.
func (t Tools) room(path string) string {
	if t.GOOS == "windows" {
		return `dir /s "` + path + `"`
	}
	return fmt.Sprintf("sudo du -xh --max-depth=2 %s | sort -h | tail", quote(path))
}
