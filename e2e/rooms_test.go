package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadmeNamesEveryRoomOfTheCode(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(readme), "\n## The code\n")
	code, _, _ = strings.Cut(code, "\n## ")
	rooms := 0
	for _, where := range []string{"*", "roles/*", "roles/client/*", "roles/tracker/*", "roles/bench/*", "transport/*"} {
		files, err := filepath.Glob(filepath.Join("..", where, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, file := range files {
			room := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(file)), "../")
			if seen[room] || room == "tools" {
				continue
			}
			seen[room] = true
			rooms++
			if !strings.Contains(code, "`"+room+"`") && !strings.Contains(code, "`"+filepath.Base(room)+"`") {
				t.Errorf("%s is not in the table of the code", room)
			}
		}
	}
	if rooms < 30 {
		t.Errorf("only %d rooms were found", rooms)
	}
}
