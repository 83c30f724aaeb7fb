//go:build unix

package e2e

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// program writes a shell script into the test's folder.
func (s *swarm) program(name, script string) {
	s.Helper()
	if err := os.WriteFile(s.path(name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		s.Fatal(err)
	}
}

func TestACompletedDownloadRunsAProgramThatIsToldOfIt(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	const name = "a $(touch pwned) 'b' \"c\";d.bin"
	s.write(name, 3*pieceSize+1, 1)
	sharer := s.client(10, "sharer")
	sharer.do(`share 'a $(touch pwned) '\''b'\'' "c";d.bin' x.mtorrent`)
	s.program("on-complete", `printf '%s\n' "$MTOR_NAME" "$MTOR_PATH" "$MTOR_SIZE_BYTES" "$MTOR_TORRENT_ID" "$MTOR_TORRENT_FILE" $# "$MTOR_STATE" > told
cmp "$MTOR_PATH" '`+strings.ReplaceAll(name, "'", `'\''`)+`' && echo same >> told
`)
	if err := os.Mkdir(s.path("copies"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The end of input waits for the program too.
	_, _, code := s.piped(20, "downloader", "get x.mtorrent copies/\n", "--on-complete", "./on-complete")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	got, err := os.ReadFile(s.path("told"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		name, s.path("copies/" + name), strconv.Itoa(3*pieceSize + 1), s.id("x.mtorrent").String(), s.path("x.mtorrent"), "0", "", "same\n",
	}, "\n")
	if string(got) != want {
		t.Errorf("the program saw\n%s\nwant\n%s", got, want)
	}
	if s.exists("pwned") {
		t.Error("a name was run as a command")
	}
}

func TestHangupChangesTheProgramOfCompletedDownloads(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.write("data", 2*pieceSize, 1)
	sharer := s.client(10, "sharer")
	sharer.do("share data x.mtorrent")
	s.program("first", "touch first-ran\n")
	s.program("second", "touch second-ran\n")
	settings := func(hook string) {
		if err := os.WriteFile(s.path("client.yaml"), []byte("log_file: client.log\nhooks:\n  complete: "+hook+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings("./first")
	downloader := s.client(20, "downloader", "--config", "client.yaml")
	settings("./second")
	if err := downloader.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.logs("downloader.log", `changed=[hooks.complete]`)
	downloader.do("get x.mtorrent copy")
	downloader.do("wait")
	if s.exists("first-ran") || !s.exists("second-ran") {
		t.Error("the program of the settings before the hangup was run")
	}
}
