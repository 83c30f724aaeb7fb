package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/mtor-dev/mtor/config"
)

// service is what the tests look at of a service in deploy/compose.yaml.
type service struct {
	Image, User string
	Command     []string
	Environment map[string]string
	Volumes     []string
	Networks    any
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// composed are the services of mtor's own, and all of them.
func composed(t *testing.T) (ours, all map[string]service) {
	t.Helper()
	var c struct{ Services map[string]service }
	readYAML(t, "../deploy/compose.yaml", &c)
	ours = map[string]service{}
	for name, s := range c.Services {
		if s.Image == "mtor" {
			ours[name] = s
		}
	}
	return ours, c.Services
}

// asked has the binary say what settings a role would have with an environment.
func asked(t *testing.T, role string, env map[string]string) map[string]any {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "config", "print", role)
	cmd.Env = []string{"HOME=" + t.TempDir()}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("config print %s with %v: %v", role, env, err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestComposedSwarmHasSettingsThatTheRolesTake(t *testing.T) {
	ours, all := composed(t)
	if len(ours) != 5 || len(all) != 7 {
		t.Fatalf("%d services, %d of them mtor's", len(all), len(ours))
	}
	addrs := map[string]string{} // by service
	for name, s := range ours {
		addrs[name] = s.Environment["MTOR_ADDR"]
	}
	for name, s := range ours {
		if len(s.Command) != 1 {
			t.Fatalf("%s runs %v", name, s.Command)
		}
		role := s.Command[0]
		set := asked(t, role, s.Environment)
		for env := range s.Environment {
			key := strings.ToLower(strings.TrimPrefix(env, "MTOR_"))
			if _, known := set[key]; !known || config.EnvName(key) != env {
				t.Errorf("%s: a %s has no setting %s", name, role, env)
			}
		}
		// The environment alone must pass the checks.
		var err error
		if role == "tracker" {
			_, err = loadEnv(t, config.TrackerDefaults(), s.Environment)
		} else {
			_, err = loadEnv(t, config.ClientDefaults(), s.Environment)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		a, err := netip.ParseAddrPort(addrs[name])
		if err != nil || !strings.Contains(fmt.Sprint(s.Networks), a.Addr().String()) {
			t.Errorf("%s listens on %q, and is at %v", name, addrs[name], s.Networks)
		}
		for _, key := range []string{"peers", "trackers"} {
			list, _ := set[key].([]any)
			for _, other := range list {
				if !slices.ContainsFunc([]string{"tracker-1", "tracker-2"}, func(n string) bool { return addrs[n] == other }) {
					t.Errorf("%s: %v is no tracker", name, other)
				}
			}
		}
		for _, key := range []string{"seederlist_file", "log_file", "state", "watch_to"} {
			file, _ := set[key].(string)
			if file != "" && file != "-" && !slices.ContainsFunc(s.Volumes, func(v string) bool {
				_, at, _ := strings.Cut(v, ":")
				return strings.HasPrefix(file, strings.TrimSuffix(at, ":ro"))
			}) {
				t.Errorf("%s: %s %s is on no volume", name, key, file)
			}
		}
	}
}

// loadEnv reads settings from an environment and checks them, but for the files
// that they name.
func loadEnv[T config.Settings](t *testing.T, defaults T, env map[string]string) (T, error) {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	defer func() {
		for k := range env {
			_ = os.Unsetenv(k)
		}
	}()
	l, err := config.Load(defaults, config.Sources{})
	if err != nil {
		return defaults, err
	}
	return l.Settings, l.Settings.Validate()
}

func TestScrapedTargetsAreTheComposedServices(t *testing.T) {
	ours, _ := composed(t)
	var p struct {
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "../deploy/prometheus.yml", &p)
	scraped := map[string]bool{}
	for _, job := range p.ScrapeConfigs {
		for _, target := range job.StaticConfigs[0].Targets {
			host, port, err := net.SplitHostPort(target)
			s, known := ours[host]
			if err != nil || !known || "mtor-"+s.Command[0] != job.JobName || !strings.HasSuffix(s.Environment["MTOR_METRICS"], ":"+port) {
				t.Errorf("%s: %s is not the metrics address of a service", job.JobName, target)
			}
			scraped[host] = true
		}
	}
	if len(scraped) != len(ours) {
		t.Errorf("%d of %d services are scraped", len(scraped), len(ours))
	}
}

func TestWhatIsMountedAndProvisionedIsThere(t *testing.T) {
	_, all := composed(t)
	mounts := map[string]string{}
	for _, name := range []string{"prometheus", "grafana"} {
		for _, v := range all[name].Volumes {
			from, at, _ := strings.Cut(v, ":")
			if !strings.HasPrefix(from, ".") {
				continue
			}
			from = filepath.Join("..", "deploy", from)
			if _, err := os.Stat(from); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			mounts[strings.TrimSuffix(at, ":ro")] = from
		}
	}
	var d struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, "../deploy/grafana/provisioning/dashboards/mtor.yml", &d)
	var ds struct {
		Datasources []struct{ Type, URL string }
	}
	readYAML(t, "../deploy/grafana/provisioning/datasources/prometheus.yml", &ds)
	if ds.Datasources[0].Type != "prometheus" || ds.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("the data source is %+v", ds.Datasources[0])
	}
	home := all["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	text, err := os.ReadFile(filepath.Join(mounts[path.Dir(home)], path.Base(home)))
	if err != nil || path.Dir(home) != d.Providers[0].Options.Path || !json.Valid(text) {
		t.Errorf("the first dashboard: %v", err)
	}
	var p struct {
		RuleFiles []string `yaml:"rule_files"`
	}
	readYAML(t, "../deploy/prometheus.yml", &p)
	if !slices.ContainsFunc(p.RuleFiles, func(glob string) bool {
		for at := range mounts {
			if ok, _ := path.Match(glob, at); ok {
				return true
			}
		}
		return false
	}) {
		t.Errorf("no rules are mounted at %v", p.RuleFiles)
	}
}

func TestImageRunsTheBinaryItBuilds(t *testing.T) {
	text, err := os.ReadFile("../deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"CGO_ENABLED=0 go build", "-o /out/usr/bin/mtor ./cmd/mtor", "\nFROM scratch\n", "\nUSER 65532:65532\n",
		"-X main.version=", "-X main.commit=", "COPY --from=build --chown=65532:65532 /out/ /\n", "\nENTRYPOINT [\"/usr/bin/mtor\"]\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("deploy/Dockerfile has no %q", want)
		}
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if !strings.Contains(string(text), "FROM golang:"+string(version[1])+" AS build") {
		t.Errorf("deploy/Dockerfile does not build with Go %s", version[1])
	}
}

// units are the systemd units, by file.
var units = map[string]string{"mtor-tracker@.service": "tracker", "mtor-client.service": "client"}

func TestUnitsRunWhatTheBinaryTakes(t *testing.T) {
	execStart := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/mtor (.*)$`)
	for file, role := range units {
		text, err := os.ReadFile(filepath.Join("..", "deploy", "systemd", file))
		if err != nil {
			t.Fatal(err)
		}
		m := execStart.FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s: no ExecStart", file)
		}
		// The settings file is not there, which is all that may be wrong.
		args := strings.Fields(strings.ReplaceAll(string(m[1]), "/etc/mtor/", t.TempDir()+"/"))
		out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
		if args[0] != role || err == nil || !strings.Contains(string(out), "no such file") {
			t.Errorf("%s: mtor %v: %v %s", file, args, err, out)
		}
		for _, want := range []string{"Type=notify", "DynamicUser=yes", "ProtectSystem=strict", "RestartPreventExitStatus=2"} {
			if !strings.Contains(string(text), "\n"+want+"\n") {
				t.Errorf("%s: no %s", file, want)
			}
		}
	}
}

func TestUnitsPassSystemdsOwnCheck(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for file := range units {
		text, err := os.ReadFile(filepath.Join("..", "deploy", "systemd", file))
		if err != nil {
			t.Fatal(err)
		}
		// It looks whether the program is there.
		text = []byte(strings.ReplaceAll(string(text), "/usr/bin/mtor", binary))
		file = filepath.Join(t.TempDir(), strings.Replace(file, "@.", "@a.", 1))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", filepath.Base(file), err, out)
		}
	}
}
