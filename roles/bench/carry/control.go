package carry

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// control is the connection on which the serving side says how it is.
type control struct {
	conn net.Conn
	in   *bufio.Reader
}

// callServer opens the control connection.
func callServer(ctx context.Context, addr string) (*control, *welcome, error) {
	conn, err := say(ctx, addr, forControl)
	if err != nil {
		return nil, nil, err
	}
	c := &control{conn: conn, in: bufio.NewReader(conn)}
	var w welcome
	if err := c.answer(&w); err != nil {
		_ = conn.Close() // the first error counts
		return nil, nil, fmt.Errorf("%s does not answer as mtor bench serve does: %w", addr, err)
	}
	if err := w.check(); err != nil {
		_ = conn.Close() // as above
		return nil, nil, fmt.Errorf("%s: %w", addr, err)
	}
	return c, &w, nil
}

func (w *welcome) check() error {
	if err := CheckSize(w.Size); err != nil {
		return err
	}
	if len(w.Digests) != int(w.Size/torrentfmt.PieceSize)*sha1.Size {
		return errors.New("the digests do not fit the size")
	}
	if len(w.Kinds) == 0 || len(w.Kinds) > MaxKinds {
		return fmt.Errorf("%d kinds of transports", len(w.Kinds))
	}
	ports := []int{w.QUICPort}
	for _, k := range w.Kinds {
		ports = append(ports, k.Port)
	}
	for _, port := range ports {
		if port < 1 || port > 65535 {
			return fmt.Errorf("port %d", port)
		}
	}
	return nil
}

// answer reads one line of JSON.
func (c *control) answer(v any) error {
	if err := c.conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	var line []byte
	for {
		part, err := c.in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxWelcome {
			return fmt.Errorf("a line of more than %d bytes", maxWelcome)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(line, v)
	}
}

// cpu is what the serving process has used so far.
func (c *control) cpu() (time.Duration, error) {
	if err := c.conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(c.conn, askCPU+"\n"); err != nil {
		return 0, err
	}
	var u usage
	err := c.answer(&u)
	return u.CPU, err
}
