package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mtor-dev/mtor/units"
)

// write makes a settings file.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileAloneMakesATracker(t *testing.T) {
	path := write(t, `
addr: 127.0.0.1:7000
peers: [127.0.0.2:7000]
seederlist_file: t.db
log_file: t.log
lease: 90s
accept_data_loss: true
`)
	l, err := Load(TrackerDefaults(), Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	want := tracker(func(c *Tracker) { c.Lease, c.AcceptDataLoss = 90*time.Second, true })
	if diff := cmp.Diff(want, l.Settings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCommandLineBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	path := write(t, "transport: tcp\nlease: 10s\nlog_level: debug\n")
	t.Setenv("MTOR_LEASE", "20s")
	t.Setenv("MTOR_LOG_LEVEL", "warn")
	l, err := Load(TrackerDefaults(), Sources{File: path, Given: map[string]any{"log_level": "error"}})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Settings
	if c.LogLevel != "error" || c.Lease != 20*time.Second || c.Transport != "tcp" || c.Ack != AckSelf {
		t.Errorf("%+v", c)
	}
	for key, want := range map[string]string{
		"log_level": "command line", "lease": "MTOR_LEASE", "transport": path + ":1", "ack": "default",
	} {
		if got := l.origins.of(key); got != want {
			t.Errorf("%s is said to come from %q: want %q", key, got, want)
		}
	}
}

// TestEachKeyTakesItsValueFromTheHighestSource goes through all keys: each source
// in turn is taken away.
func TestEachKeyTakesItsValueFromTheHighestSource(t *testing.T) {
	eachKeyTakesTheHighest(t, TrackerDefaults())
	eachKeyTakesTheHighest(t, ClientDefaults())
}

func eachKeyTakesTheHighest[T Settings](t *testing.T, defaults T) {
	t.Helper()
	for key, s := range keys(reflect.ValueOf(defaults), "") {
		t.Run(fmt.Sprintf("%T %s", defaults, key), func(t *testing.T) {
			v := threeValues(t, s.value)
			text := v[2]
			for _, name := range slices.Backward(strings.Split(key, ".")) {
				text = "{" + name + ": " + text + "}"
			}
			sources := Sources{Given: map[string]any{key: v[0]}, File: write(t, text)}
			t.Setenv(EnvName(key), v[1])
			holds := func(want, from string) {
				t.Helper()
				l, err := Load(defaults, sources)
				if err != nil {
					t.Fatal(err)
				}
				for k, got := range keys(reflect.ValueOf(l.Settings), "") {
					if said := strings.Trim(fmt.Sprint(got.value.Interface()), "[]"); k == key && said != want || k == key && !strings.Contains(l.origins.of(k), from) {
						t.Errorf("it is %s, from %s: want %s, from %s", said, l.origins.of(k), want, from)
					}
				}
			}
			holds(v[0], "command line")
			sources.Given = nil
			holds(v[1], EnvName(key))
			t.Setenv(EnvName(key), "")
			holds(strings.Trim(v[2], "[]"), sources.File+":1")
			sources.File = ""
			holds(strings.Trim(fmt.Sprint(s.value.Interface()), "[]"), "default")
		})
	}
}

// threeValues are values of the type of v, as they are printed: for the command
// line, the environment and the file. A bool has but two.
func threeValues(t *testing.T, v reflect.Value) [3]string {
	t.Helper()
	switch v.Interface().(type) {
	case time.Duration:
		return [3]string{"1m1s", "2m2s", "3m3s"}
	case units.Rate:
		return [3]string{"11 MB/s", "22 MB/s", "33 MB/s"}
	case bool:
		return [3]string{"true", "false", "true"}
	case int:
		return [3]string{"11", "22", "33"}
	case string:
		return [3]string{"given", "env", "file"}
	case []string:
		return [3]string{"given", "env", "[file]"}
	}
	t.Fatalf("no values of %v are known", v.Type())
	return [3]string{}
}

func TestMistakesInAFileAreToldWithKeyAndLine(t *testing.T) {
	for name, c := range map[string]struct {
		text, key string
		line      int
		why       string
	}{
		"unknown":          {"ack: self\nlog_levle: info\n", "log_levle", 2, "did you mean log_level?"},
		"unknown, far":     {"colour: red\n", "colour", 1, "no setting"},
		"other case":       {"Ack: self\n", "Ack", 1, "did you mean ack?"},
		"twice":            {"ack: self\n\nack: peer\n", "ack", 3, "line 1 has it too"},
		"number for text":  {"log_file: 12\n", "log_file", 1, "quotes"},
		"text for bool":    {"accept_data_loss: perhaps\n", "accept_data_loss", 1, "true or false"},
		"number for time":  {"lease: 30\n", "lease", 1, "90s"},
		"text for list":    {"peers: 127.0.0.1:1\n", "peers", 1, "want a list"},
		"map for list":     {"peers: {a: b}\n", "peers", 1, "want a list"},
		"list in list":     {"peers:\n- a:1\n- [b]\n", "peers[1]", 3, "want text"},
		"no value":         {"addr:\npeers: []\n", "addr", 1, "no value"},
		"no value in list": {"peers:\n-\n", "peers[0]", 2, "no value"},
		"alias":            {"addr: &a x\nlog_file: *a\n", "addr", 1, "anchors"},
		"merge":            {"<<: {addr: x}\n", "<<", 1, "plain text"},
		"number as key":    {"1: x\n", "1", 1, "plain text"},
		"a list":           {"- addr\n", "", 1, "key: value"},
		"a word":           {"addr\n", "", 1, "key: value"},
		"two documents":    {"ack: self\n---\nack: peer\n", "", 2, "second document"},
		"bad value":        {"ack: self\nlease: 1ms\naddr: 127.0.0.1:1\npeers: [a:1]\nseederlist_file: a\nlog_file: b", "lease", 2, "out of bounds"},
		"bad entry":        {"addr: 127.0.0.1:1\npeers:\n- a:1\n- a:0\n", "peers[1]", 4, "port 0"},
		"bad after merge":  {"addr: 127.0.0.1:1\npeers: [a:1]\nseederlist_file: a\nlog_file: b\nack: all\n", "ack", 5, "self or peer"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.text)
			l, err := Load(TrackerDefaults(), Sources{File: path})
			if err == nil {
				err = l.Check()
			}
			wantError(t, err, c.key, c.why)
			var e *Error
			errors.As(err, &e)
			if e.Line != c.line || !strings.HasPrefix(err.Error(), fmt.Sprintf("%s:%d: ", path, c.line)) {
				t.Errorf("%v: want line %d of %s", err, c.line, path)
			}
		})
	}
}

func TestValueOfTheEnvironmentIsNotBlamedOnTheFile(t *testing.T) {
	path := write(t, "lease: 1m\n")
	t.Setenv("MTOR_LEASE", "soon")
	_, err := Load(TrackerDefaults(), Sources{File: path})
	wantError(t, err, "lease", "duration")
	if strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func TestValueThatTheFileLacksIsToldByTheFileAndTheKey(t *testing.T) {
	path := write(t, "peers: [127.0.0.2:7000]\nlog_file: b\n")
	t.Setenv("MTOR_ADDR", "127.0.0.1:7000")
	l, err := Load(TrackerDefaults(), Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if err = l.Check(); err == nil || !strings.HasPrefix(err.Error(), path+": seederlist_file: is missing: ") {
		t.Error(err)
	}
}

func TestFilesThatAreNoSettingsAreNamed(t *testing.T) {
	dir := t.TempDir()
	for path, why := range map[string]string{
		filepath.Join(dir, "no.yaml"):            "no such file",
		dir:                                      "folder",
		write(t, strings.Repeat("#", maxFile+1)): "larger",
		write(t, "ack: self\n\tlease: 1s\n"):     "this is not YAML, near line",
		write(t, "addr: [::1]:7000\n"):           "goes in quotes",
	} {
		_, err := Load(ClientDefaults(), Sources{File: path})
		wantError(t, err, "", why)
		if !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%v: does not name %s", err, path)
		}
	}
	for _, text := range []string{"", "# nothing set\n", "---\n"} {
		if _, err := Load(ClientDefaults(), Sources{File: write(t, text)}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// prose is a sample's comment; what begins with # and a name is a setting.
var prose = regexp.MustCompile(`(?m)^#( \S.*)?$`)

func TestSamplesNameEverySettingWithItsDefault(t *testing.T) {
	sampleHolds(t, TrackerSample, TrackerDefaults())
	sampleHolds(t, ClientSample, ClientDefaults())
}

func sampleHolds[T Settings](t *testing.T, sample []byte, defaults T) {
	t.Helper()
	// As it is, it is a working set of settings.
	asIs, err := Load(defaults, Sources{File: write(t, string(sample))})
	if err != nil {
		t.Fatal(err)
	}
	if err := asIs.Settings.Validate(); err != nil {
		t.Error(err)
	}
	// And with everything set, too.
	all := strings.ReplaceAll(prose.ReplaceAllString(string(sample), ""), "\n#", "\n")
	l, err := Load(defaults, Sources{File: write(t, all)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Settings.Validate(); err != nil {
		t.Error(err)
	}
	is := map[string]setting{}
	for key, s := range keys(reflect.ValueOf(l.Settings), "") {
		is[key] = s
		if l.origins.file.lines[key] == 0 {
			t.Errorf("%s is not in the sample of %T", key, defaults)
		}
	}
	for key, s := range keys(reflect.ValueOf(defaults), "") {
		if !s.value.IsZero() && !reflect.DeepEqual(s.value.Interface(), is[key].value.Interface()) {
			t.Errorf("the sample says %s: %v, the default is %v", key, is[key].value, s.value)
		}
		if reload := strings.Contains(comment(string(sample), key), "(reload)"); reload != s.is("live") {
			t.Errorf("%s: the sample says (reload): %v, the struct %v", key, reload, s.is("live"))
		}
	}
}

// comment is the text above a key in a sample.
func comment(sample, key string) string {
	name := key[strings.LastIndex(key, ".")+1:]
	at := regexp.MustCompile(`(?m)^#? *` + name + `:`).FindStringIndex(sample)
	if at == nil {
		return ""
	}
	above := sample[:at[0]]
	return above[strings.LastIndex(above, "\n\n")+1:]
}

func TestPrintedSettingsLoadAgain(t *testing.T) {
	l, err := Load(TrackerDefaults(), Sources{File: write(t, string(TrackerSample))})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := l.Print(&out); err != nil {
		t.Fatal(err)
	}
	again, err := Load(Tracker{}, Sources{File: write(t, out.String())})
	if err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	if diff := cmp.Diff(l.Settings, again.Settings, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-was +is):\n%s", diff)
	}
	for _, line := range []string{"lease: 2m # default\n", "log_file: '-' # " + l.origins.file.path} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
}

// odd is settings of every kind of type that a role may come to have.
type odd struct {
	Name  string   `mapstructure:"name" live:"yes"`
	Count int      `mapstructure:"count"`
	Small uint8    `mapstructure:"small"`
	Ratio float64  `mapstructure:"ratio"`
	Text  hexText  `mapstructure:"text"`
	List  []string `mapstructure:"list"`
	Key   string   `mapstructure:"key" secret:"yes"`
	Group struct {
		Deep  string        `mapstructure:"deep" live:"yes"`
		After time.Duration `mapstructure:"after"`
	} `mapstructure:"group"`
}

func (odd) Validate() error   { return nil }
func (odd) CheckFiles() error { return nil }

type hexText struct{ n int }

func (h *hexText) UnmarshalText(b []byte) error {
	if _, err := fmt.Sscanf(string(b), "%x", &h.n); err != nil {
		return errors.New("want a hex number")
	}
	return nil
}

func (h hexText) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", h.n), nil }

func TestEveryTypeOfSetting(t *testing.T) {
	path := write(t, "name: a\ncount: -3\nsmall: 7\nratio: 2\ntext: ff\nkey: s3cret\ngroup:\n  deep: b\n  after: 0\n")
	t.Setenv("MTOR_GROUP_AFTER", "5s")
	l, err := Load(odd{}, Sources{File: path, Given: map[string]any{"group.deep": "c"}})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Settings
	if c.Name != "a" || c.Count != -3 || c.Small != 7 || c.Ratio != 2 || c.Text.n != 255 ||
		c.Group.Deep != "c" || c.Group.After != 5*time.Second {
		t.Errorf("%+v", c)
	}
	var out bytes.Buffer
	if err := l.Print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "s3cret") || !strings.Contains(out.String(), redacted) ||
		!strings.Contains(out.String(), "text: ff") || !strings.Contains(out.String(), "  deep: c # command line") {
		t.Error(out.String())
	}
	for text, want := range map[string]string{
		"count: 1.5":         "whole number",
		"small: 256":         "whole number",
		"ratio: much":        "want a number",
		"text: xyz":          "hex number",
		"text: [1]":          "one value",
		"group: 1":           "key: value",
		"group:\n  dep: x":   "group.dep: is unknown: did you mean group.deep?",
		"group.deep: x":      "group.deep: is",
		"group:\n  after: x": "group.after: want a duration",
	} {
		_, err := Load(odd{}, Sources{File: write(t, text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v: want %q", text, err, want)
		}
	}
}

func TestReloadTakesOverWhatCanChangeAndNamesTheRest(t *testing.T) {
	next := odd{Name: "x", Count: 1, List: []string{}}
	next.Group.Deep = "y"
	now, live, fixed := Reload(odd{Count: 7}, next)
	want := odd{Name: "x", Count: 7}
	want.Group.Deep = "y"
	if !cmp.Equal(now, want, cmp.AllowUnexported(hexText{})) || !cmp.Equal(live, []string{"name", "group.deep"}) || !cmp.Equal(fixed, []string{"count"}) {
		t.Error(now, live, fixed)
	}
}

func TestTheUsersOwnPlaceComesFirst(t *testing.T) {
	own := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", own)
	places := Places("client")
	path := filepath.Join(own, "mtor", "client.yaml")
	if places[0] != path {
		t.Errorf("%q", places)
	}
	if got := Find(places[:1]); got != "" {
		t.Errorf("found %s in an empty folder", got)
	}
	second := write(t, "")
	if got := Find([]string{path, second}); got != second {
		t.Errorf("found %q", got)
	}
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{
		string(TrackerSample), string(ClientSample), "", "a: [", "? b\n: c", "ack: &x 1\nlease: *x", "peers: [a, [b]]", "!!binary addr: x", "addr: !!set {}",
		"---\n---\n", "a: {b: {c: d}}", "\xff", "addr: |\n  x",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := file{path: "x.yaml", data: data}
		err := in.check(reflect.TypeFor[Tracker]())
		var e *Error
		if err != nil && (!errors.As(err, &e) || strings.ContainsAny(err.Error(), "\n\r") || e.Line < 0) {
			t.Errorf("not one line: %q", err)
		}
		// What has passed, viper must be able to decode.
		if err == nil && in.lines["addr"] > 0 {
			path := filepath.Join(t.TempDir(), "x.yaml")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(TrackerDefaults(), Sources{File: path}); err != nil {
				t.Errorf("checked, but not decoded: %v", err)
			}
		}
	})
}
