package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// CheckFiles implements [Settings].
func (c Tracker) CheckFiles() error {
	if err := checkFile("seederlist_file", c.SeederlistFile); err != nil {
		return err
	}
	if err := checkSwarmKey(c.SwarmKeyFile); err != nil {
		return err
	}
	return checkLogFile(c.LogFile)
}

// CheckFiles implements [Settings]; the state folder itself may be missing.
func (c Client) CheckFiles() error {
	if err := checkLogFile(c.LogFile); err != nil {
		return err
	}
	if err := checkSwarmKey(c.SwarmKeyFile); err != nil {
		return err
	}
	if err := checkProgram("hooks.complete", c.Hooks.Complete); err != nil {
		return err
	}
	for i, path := range c.Watch {
		if err := checkFolder(fmt.Sprintf("watch[%d]", i), path); err != nil {
			return err
		}
	}
	if c.WatchTo != "" {
		if err := checkFolder("watch_to", c.WatchTo); err != nil {
			return err
		}
	}
	if c.State == "" {
		return nil
	}
	if info, err := os.Stat(c.State); err == nil && !info.IsDir() {
		return errorf("state", "%q is not a folder: want a folder's path", c.State)
	}
	return nil
}

func checkLogFile(path string) error {
	if path == LogStderr {
		return nil
	}
	return checkFile("log_file", path)
}

// checkSwarmKey checks that a swarm key's file is there, if one is named.
func checkSwarmKey(path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errorf("swarm_key_file", "%q does not exist: have it from another member, or make the first one (mtor keygen swarm %s)", path, path)
	case err != nil:
		return errorf("swarm_key_file", "%v", err)
	case !info.Mode().IsRegular():
		return errorf("swarm_key_file", "%q is no file: want the path of a swarm key", path)
	}
	return nil
}

// checkFolder checks that a folder is there.
func checkFolder(key, path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errorf(key, "the folder %q does not exist: make it first", path)
	case err != nil:
		return errorf(key, "%v", err)
	case !info.IsDir():
		return errorf(key, "%q is not a folder", path)
	}
	return nil
}

// checkProgram checks that there is a program, if one is named.
func checkProgram(key, name string) error {
	if name == "" {
		return nil
	}
	_, err := exec.LookPath(name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrDot):
		return errorf(key, "%q is found in the working folder alone: write ./%s", name, name)
	case errors.Is(err, fs.ErrPermission):
		return errorf(key, "%q cannot be executed: want a program's path", name)
	case strings.ContainsAny(name, " \t"):
		return errorf(key, "%q is no program: want its path alone; put arguments into a script", name)
	}
	return errorf(key, "%q is no program: want its path, or a name in PATH", name)
}

func checkFile(key, path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return errorf(key, "%q is a folder: want a file's path", path)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return errorf(key, "%v", err)
	case os.IsPathSeparator(path[len(path)-1]):
		return errorf(key, "%q ends like a folder: want a file's path", path)
	}
	dir := filepath.Dir(path)
	info, err = os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errorf(key, "%q: the folder %q does not exist: make it first", path, dir)
	case err != nil:
		return errorf(key, "%v", err)
	case !info.IsDir():
		return errorf(key, "%q: %q is not a folder", path, dir)
	}
	return nil
}
