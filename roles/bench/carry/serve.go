package carry

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
)

// maxServed bounds the connections of each kind that are served at once: one
// who measures has two or three.
const maxServed = 64

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
	Table transport.Table
}

// Server serves a file to those who measure.
type Server struct {
	path    string
	welcome welcome
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
	Port       int    `json:"port"`      // of the transports
	QUICPort   int    `json:"quic_port"` // of bare QUIC
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
	s := &Server{path: filepath.Join(o.Dir, fmt.Sprintf("mtor-bench-%d", os.Getpid()))}
	defer func() {
		if err != nil {
			s.free()
		}
	}()
	if err := s.bind(ctx, addr, o.Table); err != nil {
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

func (s *Server) bind(ctx context.Context, addr netip.AddrPort, table transport.Table) error {
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
	s.bare, err = s.quic.Listen(identity.Ephemeral().Server(bareALPN), bareConfig())
	if err != nil {
		return err
	}
	behind := addr
	if addr.Port() != 0 {
		behind = netip.AddrPortFrom(addr.Addr(), addr.Port()+1)
	}
	if s.table, err = table.Listen(ctx, behind.String()); err != nil {
		return err
	}
	if len(s.table) == 0 {
		return errors.New("no transport to measure")
	}
	s.welcome.QUICPort = portOf(s.udp.LocalAddr())
	s.welcome.Port = portOf(s.table[0].Addr())
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
	switch strings.TrimSuffix(string(line), "\n") {
	case greeting + forControl:
		return s.serveControl(c, in)
	case greeting + forBareTCP:
		f, err := os.Open(s.path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := c.SetDeadline(time.Now().Add(roundTimeout)); err != nil {
			return err
		}
		// No wrapper but this one: package net sends from the file by sendfile.
		_, err = c.ReadFrom(io.LimitReader(f, s.welcome.Size))
		return err
	}
	return errors.New("not one who measures")
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
			streams.Go(func() { _ = s.servePiece(st, f) }) // the fetcher has the error
		}
	})
}

func (s *Server) servePiece(st transport.Stream, f *os.File) error {
	defer st.Close()
	if err := st.SetDeadline(time.Now().Add(pieceTimeout)); err != nil {
		return err
	}
	var ask [4]byte
	if _, err := st.ReadFull(ask[:]); err != nil {
		return err
	}
	at := int64(binary.BigEndian.Uint32(ask[:])) * torrentfmt.PieceSize
	_, err := st.ReadFrom(io.NewSectionReader(f, at, torrentfmt.PieceSize))
	return err
}
