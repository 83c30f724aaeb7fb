package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// binary is the path of the mtor that all tests run.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

// givenBinary names, in a test that runs once more in namespaces of its own, the
// mtor that was built already.
const givenBinary = "MTOR_TEST_BINARY"

func run(m *testing.M) int {
	if binary = os.Getenv(givenBinary); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "mtor-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "mtor")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	if err := build(binary); err != nil {
		return fail(err)
	}
	if err := os.Setenv(givenBinary, binary); err != nil {
		return fail(err)
	}
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		return fail(err)
	}
	return 0
}

// build builds mtor, with flags of go build.
func build(out string, flags ...string) error {
	args := append([]string{"build", "-o", out}, flags...)
	if raced {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../cmd/mtor")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
