package carry

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// maxServed bounds the connections of each kind that are served at once: one
// who measures has two or three.
const maxServed = 64

// sentAtOnce is how many pieces of one session are sent at once, as many as a
// client sends to one peer; what is asked for beyond that waits.
const sentAtOnce = 4

// controlSilence ends a control connection that asks nothing for longer than a
// round takes.
const controlSilence = roundTimeout + time.Minute

// ServeOptions say what to serve.
type ServeOptions struct {
	// Addr is ip:port for the bare connections, TCP and UDP; the transports
	// are on the port number behind it. Port 0 picks free ones for all.
	Addr  string
	Dir   string // the file is made there, and removed in the end
	Size  int64  // of the file, see CheckSize
	Kinds []Kind // at least one
}

// Kind is a table of transports to listen on. Each has the port number behind
// that of the one before; fetchers take QUIC from the first alone.
type Kind struct {
	Congestion string // the congestion control of its TCP; empty is the system's
	Table      transport.Table
}

// Server serves a file to those who measure.
type Server struct {
	path    string
	welcome welcome
	creds   *identity.Credentials // for what is bare
	tcp     *net.TCPListener
	udp     net.PacketConn
	quic    *quicgo.Transport
	bare    *quicgo.Listener
	table   []transport.Listener
}

// welcome is what the fetching side has to know.
type welcome struct {
	Machine    string `json:"machine"`
	FileSystem string `json:"file_system"`
	Size       int64  `json:"size"`
	Digests    []byte `json:"digests"`
	Kinds      []kind `json:"kinds"`
	QUICPort   int    `json:"quic_port"` // of bare QUIC
}

// kind is a Kind that is listened on.
type kind struct {
	Congestion string `json:"congestion,omitempty"`
	Port       int    `json:"port"`
}

// usage is what the serving process has used so far.
type usage struct {
	CPU time.Duration `json:"cpu_ns"`
}

// NewServer makes the file and binds. Run must follow, which frees both.
func NewServer(ctx context.Context, o ServeOptions) (_ *Server, err error) {
	if err := CheckSize(o.Size); err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddrPort(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("%q is not ip:port", o.Addr)
	}
	s := &Server{creds: identity.Ephemeral(), path: filepath.Join(o.Dir, fmt.Sprintf("mtor-bench-%d", os.Getpid()))}
	defer func() {
		if err != nil {
			s.free()
		}
	}()
	if err := s.bind(ctx, addr, o.Kinds); err != nil {
		return nil, err
	}
	digests, err := makeFile(s.path, o.Size)
	if err != nil {
		return nil, fmt.Errorf("make the file to serve: %w", err)
	}
	s.welcome.Machine, s.welcome.FileSystem = Machine(), FileSystem(o.Dir)
	s.welcome.Size, s.welcome.Digests = o.Size, digests
	return s, nil
}

func (s *Server) bind(ctx context.Context, addr netip.AddrPort, kinds []Kind) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return err
	}
	s.tcp = l.(*net.TCPListener) // Listen gives no other for "tcp"
	if s.udp, err = lc.ListenPacket(ctx, "udp", addr.String()); err != nil {
		return err
	}
	s.quic = &quicgo.Transport{Conn: s.udp}
	s.bare, err = s.quic.Listen(s.creds.Server(bareALPN), bareConfig())
	if err != nil {
		return err
	}
	for i, k := range kinds {
		behind := addr
		if addr.Port() != 0 {
			behind = netip.AddrPortFrom(addr.Addr(), addr.Port()+1+uint16(i))
		}
		listeners, err := k.Table.Listen(ctx, behind.String())
		if err != nil {
			return err
		}
		s.table = append(s.table, listeners...)
		s.welcome.Kinds = append(s.welcome.Kinds, kind{Congestion: k.Congestion, Port: portOf(listeners[0].Addr())})
	}
	if len(s.table) == 0 {
		return errors.New("no transport to measure")
	}
	s.welcome.QUICPort = portOf(s.udp.LocalAddr())
	return nil
}

func portOf(addr net.Addr) int {
	ap, _ := netip.ParseAddrPort(addr.String()) // a bound socket's address is one
	return int(ap.Port())
}

// Addr is ip:port to give to Measure.
func (s *Server) Addr() string { return s.tcp.Addr().String() }

// free closes what is bound and removes the file.
func (s *Server) free() {
	if s.tcp != nil {
		_ = s.tcp.Close() // nothing of it is left to be lost
	}
	for _, l := range s.table {
		_ = l.Close() // as above
	}
	if s.quic != nil {
		_ = s.quic.Close() // as above
	}
	if s.udp != nil {
		_ = s.udp.Close() // as above
	}
	_ = os.Remove(s.path) // it may not have been made
}

// Run serves until ctx ends, which is no error, or a listener fails.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { s.acceptTCP(ctx, cancel) })
	tasks.Go(func() { s.acceptQUIC(ctx, cancel) })
	for _, l := range s.table {
		tasks.Go(func() { s.acceptSessions(ctx, cancel, l) })
	}
	<-ctx.Done()
	s.free()
	tasks.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// each serves what accept gives, up to maxServed at once, until accept fails,
// which stops the server; serve is to return when ctx ends.
func each[T any](ctx context.Context, stop context.CancelCauseFunc, accept func() (T, error), serve func(context.Context, T)) {
	var served sync.WaitGroup
	defer served.Wait()
	room := make(chan struct{}, maxServed)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := accept()
		if err != nil {
			stop(err)
			return
		}
		served.Go(func() {
			serve(ctx, c)
			<-room
		})
	}
}

func (s *Server) acceptTCP(ctx context.Context, stop context.CancelCauseFunc) {
	each(ctx, stop, s.tcp.AcceptTCP, func(ctx context.Context, c *net.TCPConn) {
		defer context.AfterFunc(ctx, func() { _ = c.Close() })() // ends what waits on it
		defer c.Close()
		_ = s.serveTCP(c) // who asked sees it end, and has the error
	})
}

func (s *Server) serveTCP(c *net.TCPConn) error {
	if err := c.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(c, maxLine)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	said, ours := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), greeting)
	what, congestion, _ := strings.Cut(said, " ")
	switch {
	case !ours || !s.has(congestion):
		return errors.New("not one who measures")
	case what == forControl:
		return s.serveControl(c, in)
	case what == forBareTCP, what == forBareTLS:
		if err := tcp.SetCongestion(c, congestion); err != nil {
			return err
		}
		if err := c.SetDeadline(time.Now().Add(roundTimeout)); err != nil {
			return err
		}
		f, err := os.Open(s.path)
		if err != nil {
			return err
		}
		defer f.Close()
		if what == forBareTLS {
			return s.serveBareTLS(c, in, f)
		}
		// No wrapper but this one: package net sends from the file by sendfile.
		_, err = c.ReadFrom(io.LimitReader(f, s.welcome.Size))
		return err
	}
	return errors.New("no such thing is served")
}

// afterGreeting is a connection whose first bytes may have been read ahead.
type afterGreeting struct {
	*net.TCPConn
	in *bufio.Reader
}

func (c afterGreeting) Read(p []byte) (int, error) { return c.in.Read(p) }

func (s *Server) serveBareTLS(c *net.TCPConn, in *bufio.Reader, f *os.File) error {
	config := s.creds.Server(bareALPN)
	config.DynamicRecordSizingDisabled = true // what is sent is large
	conn := tls.Server(afterGreeting{c, in}, config)
	buffers := storage.NewBuffers(torrentfmt.PieceSize)
	buf, _ := buffers.TryGet() // there is one
	for at := int64(0); at < s.welcome.Size; at += bareTLSWrite {
		n := min(bareTLSWrite, s.welcome.Size-at)
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			return err
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return err
		}
	}
	return conn.CloseWrite()
}

// has says whether what is bare may be asked for with a congestion control.
func (s *Server) has(congestion string) bool {
	return congestion == "" || slices.ContainsFunc(s.welcome.Kinds, func(k kind) bool { return k.Congestion == congestion })
}

func (s *Server) serveControl(c net.Conn, in *bufio.Reader) error {
	answer := any(s.welcome)
	for {
		if err := c.SetDeadline(time.Now().Add(controlSilence)); err != nil {
			return err
		}
		if err := json.NewEncoder(c).Encode(answer); err != nil {
			return err
		}
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if string(line) != askCPU+"\n" {
			return errors.New("no such question")
		}
		answer = usage{CPU: cpuTime()}
	}
}

func (s *Server) acceptQUIC(ctx context.Context, stop context.CancelCauseFunc) {
	accept := func() (*quicgo.Conn, error) { return s.bare.Accept(ctx) }
	each(ctx, stop, accept, func(ctx context.Context, c *quicgo.Conn) {
		defer func() { _ = c.CloseWithError(0, "") }() // it is over either way
		var streams sync.WaitGroup
		defer streams.Wait()
		for {
			st, err := c.AcceptStream(ctx)
			if err != nil {
				return
			}
			streams.Go(func() { _ = s.serveBare(st) }) // the reader has the error
		}
	})
}

// serveBare sends every bareStreams-th piece, from the one that the reader
// names.
func (s *Server) serveBare(st *quicgo.Stream) error {
	defer st.Close()
	if err := st.SetDeadline(time.Now().Add(roundTimeout)); err != nil {
		return err
	}
	var first [1]byte
	if _, err := io.ReadFull(st, first[:]); err != nil {
		return err
	}
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, torrentfmt.PieceSize)
	for at := int64(first[0]) * torrentfmt.PieceSize; at < s.welcome.Size; at += bareStreams * torrentfmt.PieceSize {
		if _, err := f.ReadAt(buf, at); err != nil {
			return err
		}
		if _, err := st.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) acceptSessions(ctx context.Context, stop context.CancelCauseFunc, l transport.Listener) {
	accept := func() (transport.Session, error) { return l.Accept(ctx) }
	each(ctx, stop, accept, func(ctx context.Context, sess transport.Session) {
		defer sess.Close()
		f, err := os.Open(s.path)
		if err != nil {
			return
		}
		defer f.Close()
		turns := make(chan struct{}, sentAtOnce)
		var streams sync.WaitGroup
		defer func() {
			sess.Close() // ends them
			streams.Wait()
		}()
		for {
			st, err := sess.Accept(ctx)
			if err != nil {
				return
			}
			streams.Go(func() { _ = s.servePiece(st, f, turns) }) // the fetcher has the error
		}
	})
}

func (s *Server) servePiece(st transport.Stream, f *os.File, turns chan struct{}) error {
	defer st.Close()
	if err := st.SetDeadline(time.Now().Add(pieceTimeout)); err != nil {
		return err
	}
	var ask [4]byte
	if _, err := st.ReadFull(ask[:]); err != nil {
		return err
	}
	turns <- struct{}{}
	defer func() { <-turns }()
	at := int64(binary.BigEndian.Uint32(ask[:])) * torrentfmt.PieceSize
	_, err := st.ReadFrom(io.NewSectionReader(f, at, torrentfmt.PieceSize))
	return err
}
