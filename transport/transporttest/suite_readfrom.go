package transporttest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/transport"
)

func testReadFromFile(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	data := noise(7, 3<<20+123)
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var g errgroup.Group
	for _, s := range []struct{ off, n, skip int }{
		{0, len(data), 0},
		{512 << 10, 512 << 10, 0},
		{1, 1, 0},
		{77777, 1 << 20, 0},
		{5, 0, 0},
		{len(data) - 100, 100, 0},
		{1000, 300 << 10, 12345},  // partly read before
		{len(data) - 10, 1000, 0}, // reaches beyond the end
	} {
		near, far := stream(t, p.dialled, p.accepted)
		want := data[s.off+s.skip : min(s.off+s.n, len(data))]
		g.Go(func() error {
			section := io.NewSectionReader(f, int64(s.off), int64(s.n))
			if _, err := io.CopyN(io.Discard, section, int64(s.skip)); err != nil {
				return err
			}
			n, err := far.ReadFrom(section)
			if n != int64(len(want)) || err != nil {
				return errors.Join(err, errors.New("ReadFrom sent another length"))
			}
			return far.Close()
		})
		g.Go(func() error {
			got, err := io.ReadAll(near)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				return errors.New("a section arrived changed")
			}
			return near.Close()
		})
	}
	if err := wait(t, "the sections", later(g.Wait)); err != nil {
		t.Fatal(err)
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 0 || err != nil {
		t.Fatalf("the file's own position moved to %d (%v)", at, err)
	}
}

func testReadFromAny(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	data := noise(8, 700<<10)
	for _, r := range []io.Reader{
		bytes.NewReader(data),
		io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))),
		io.LimitReader(io.MultiReader(bytes.NewReader(data), bytes.NewReader(data)), int64(len(data))),
	} {
		near, far := stream(t, p.dialled, p.accepted)
		sending := later(func() error {
			n, err := far.ReadFrom(r)
			if n != int64(len(data)) {
				err = errors.Join(err, errors.New("ReadFrom sent another length"))
			}
			return errors.Join(err, far.Close())
		})
		mustRead(t, near, data)
		mustEOF(t, near)
		if err := wait(t, "the writer", sending); err != nil {
			t.Fatal(err)
		}
		mustClose(t, near)
	}
}

func testReadFromError(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	near, far := stream(t, p.dialled, p.accepted)
	broken := errors.New("disk on fire")
	n, err := far.ReadFrom(io.MultiReader(bytes.NewReader([]byte("start")), failing{broken}))
	if n != 5 || !errors.Is(err, broken) {
		t.Fatalf("ReadFrom: %d, %v; want 5 bytes and the reader's error", n, err)
	}
	mustRead(t, near, []byte("start"))
	far.Abort(2)
	_, err = near.Read(make([]byte, 1))
	wantAbort(t, "Read", err, 2, true)
	mustClose(t, near)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
