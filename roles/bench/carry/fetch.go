package carry

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	quicgo "github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// fetcher gets the file once, in one of several ways.
type fetcher struct {
	host     string
	tcpPort  int
	quicPort int
	kinds    []kind
	table    transport.Table
	sink     *sink
	buffers  supply
}

// supply hands out page-aligned buffers of a piece.
type supply interface {
	Get(context.Context) ([]byte, error)
	Put([]byte)
}

// clock notes when the first byte came, and how many did.
type clock struct {
	began time.Time
	first time.Duration // written by whoever fetches piece 0
	got   atomic.Int64  // bytes, of pieces that are not whole too
}

// full fills buf from read with piece i. The first byte of the first piece is
// read by itself, so that its time can be told.
func (c *clock) full(i int, buf []byte, read func([]byte) (int, error)) error {
	if i == 0 {
		if _, err := read(buf[:1]); err != nil {
			return err
		}
		c.first = time.Since(c.began)
		c.got.Add(1)
		buf = buf[1:]
	}
	n, err := read(buf)
	c.got.Add(int64(n))
	return err
}

// newFetcher fetches from the server at the other end of c. It has no buffers
// yet.
func newFetcher(c *control, w *welcome, table transport.Table, k *sink) *fetcher {
	remote := c.conn.RemoteAddr().(*net.TCPAddr) // say gives no other
	host := remote.AddrPort().Addr().Unmap().String()
	return &fetcher{
		host: host, tcpPort: remote.Port, quicPort: w.QUICPort, kinds: w.Kinds, table: table,
		sink: k,
	}
}

func (f *fetcher) addr(port int) string { return net.JoinHostPort(f.host, strconv.Itoa(port)) }

// overTransport fetches over so many sessions as w has peers, which take turns
// at the pieces, with a stream for each piece. A piece that has arrived makes
// room for the next request before it is checked.
func (f *fetcher) overTransport(ctx context.Context, w way, c *clock) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range w.peers {
		g.Go(func() error { return f.overSession(ctx, w, &next, c) })
	}
	return g.Wait()
}

func (f *fetcher) overSession(ctx context.Context, w way, next *atomic.Int64, c *clock) error {
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	sess, err := f.table.Dial(dialling, w.scheme+"://"+f.addr(w.port))
	if err != nil {
		return err
	}
	defer sess.Close()
	slots := make(chan struct{}, w.streams)
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = sess.Close() })() // ends what waits on it
	for range w.streams + workers() {
		g.Go(func() error {
			for {
				buf, err := f.buffers.Get(ctx)
				if err != nil {
					return err
				}
				slots <- struct{}{}
				i := int(next.Add(1) - 1)
				if i < f.sink.pieces() {
					err = fetchPiece(ctx, sess, i, buf, c)
				}
				<-slots
				runtime.Gosched() // the next request leaves before this piece is checked
				if err == nil && i < f.sink.pieces() {
					err = f.sink.put(i, buf)
				}
				f.buffers.Put(buf)
				if err != nil || i >= f.sink.pieces() {
					return err
				}
			}
		})
	}
	return g.Wait()
}

func fetchPiece(ctx context.Context, sess transport.Session, i int, buf []byte, c *clock) error {
	st, err := sess.Open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	if err := st.SetDeadline(time.Now().Add(pieceTimeout)); err != nil {
		return err
	}
	var ask [4]byte
	binary.BigEndian.PutUint32(ask[:], uint32(i))
	if _, err := st.Write(ask[:]); err != nil {
		return err
	}
	return c.full(i, buf, st.ReadFull)
}

// overBareTCP fetches the file as one run of bytes over one connection, under
// the standard library's TLS where that is wanted.
func (f *fetcher) overBareTCP(ctx context.Context, w way, c *clock) error {
	what := forBareTCP
	if w.scheme == tcp.SchemeTLS {
		what = forBareTLS
	}
	if w.congestion != "" {
		what += " " + w.congestion
	}
	plain, err := say(ctx, f.addr(f.tcpPort), what)
	if err != nil {
		return err
	}
	defer plain.Close()
	conn := net.Conn(plain)
	if w.scheme == tcp.SchemeTLS {
		conn = tls.Client(plain, identity.Ephemeral().Client(bareALPN))
	}
	if err := conn.SetDeadline(time.Now().Add(roundTimeout)); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = plain.Close() })() // ends what waits on it
	arrived := make(chan piece)
	f.sink.drain(g, arrived, f.buffers.Put)
	g.Go(func() error {
		defer close(arrived)
		return f.pour(ctx, conn, 0, 1, arrived, c)
	})
	return g.Wait()
}

// pour takes the pieces first, first+step, ... off r, one behind the other.
func (f *fetcher) pour(ctx context.Context, r io.Reader, first, step int, arrived chan<- piece, c *clock) error {
	read := func(p []byte) (int, error) { return io.ReadFull(r, p) }
	for i := first; i < f.sink.pieces(); i += step {
		buf, err := f.buffers.Get(ctx)
		if err != nil {
			return err
		}
		if err := c.full(i, buf, read); err != nil {
			f.buffers.Put(buf)
			return err
		}
		arrived <- piece{i, buf}
	}
	return nil
}

// overBareQUIC fetches the file over bareStreams streams of one connection.
func (f *fetcher) overBareQUIC(ctx context.Context, _ way, c *clock) error {
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := quicgo.DialAddr(dialling, f.addr(f.quicPort), identity.Ephemeral().Client(bareALPN), bareConfig())
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseWithError(0, "") }() // all that was wanted is here
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = conn.CloseWithError(0, "") })() // ends what waits on it
	arrived := make(chan piece)
	f.sink.drain(g, arrived, f.buffers.Put)
	g.Go(func() error {
		defer close(arrived)
		var pouring errgroup.Group
		for first := range bareStreams {
			pouring.Go(func() error {
				st, err := conn.OpenStreamSync(ctx)
				if err != nil {
					return err
				}
				defer st.CancelRead(0)
				if _, err := st.Write([]byte{byte(first)}); err != nil {
					return err
				}
				if err := st.Close(); err != nil {
					return err
				}
				return f.pour(ctx, st, first, bareStreams, arrived, c)
			})
		}
		return pouring.Wait()
	})
	return g.Wait()
}

// bareConfig are the settings under which quic-go was found to be fastest:
// windows that hold several pieces a stream, and many a connection.
func bareConfig() *quicgo.Config {
	return &quicgo.Config{
		InitialStreamReceiveWindow:     2 << 20,
		MaxStreamReceiveWindow:         2 << 20,
		InitialConnectionReceiveWindow: 16 << 20,
		MaxConnectionReceiveWindow:     16 << 20,
		MaxIncomingStreams:             bareStreams,
		MaxIncomingUniStreams:          -1,
	}
}

// say opens a TCP connection to a server and says what it is for.
func say(ctx context.Context, addr, what string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, greeting+what+"\n"); err != nil {
		_ = c.Close() // the first error counts
		return nil, err
	}
	return c.(*net.TCPConn), nil // a Dialer gives no other for "tcp"
}

// sized is how many buffers the ways to fetch need at most.
func sized(streams int) int64 {
	return int64(streams+2*workers()+bareStreams) * torrentfmt.PieceSize
}
