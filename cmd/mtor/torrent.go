package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/bits-and-blooms/bitset"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/mtor-dev/mtor/torrentfmt"
)

func newTorrentCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "torrent",
		Short: "Show, verify and create .mtorrent files, without a network",
	}
	cmd.AddCommand(newTorrentShowCmd(), newTorrentVerifyCmd(), newTorrentCreateCmd())
	return cmd
}

func newTorrentShowCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show FILE.mtorrent",
		Short: "Show what a .mtorrent says",
		Long: `Shows the name and size of the file or folder, its pieces, the torrent ID and the
trackers, and of a folder its files.

Exit codes: 0 ok, 1 the .mtorrent cannot be read or is refused, 2 wrong usage.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := torrentfmt.Open(args[0])
			if err != nil {
				return err
			}
			return showTorrent(cmd.OutOrStdout(), t, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "answer as one JSON object")
	return cmd
}

func showTorrent(w io.Writer, t *torrentfmt.Torrent, asJSON bool) error {
	if asJSON {
		return writeJSON(w, struct {
			Name      string    `json:"filename"`
			Size      int64     `json:"filesize"`
			Pieces    int       `json:"pieces"`
			PieceSize int       `json:"piece_size"`
			ID        string    `json:"torrent_id"`
			Trackers  [2]string `json:"trackers"`
			// Of a folder, as the .mtorrent has them.
			Files []torrentfmt.File `json:"files,omitempty"`
		}{t.Name, t.Size, t.NumPieces(), torrentfmt.PieceSize, t.ID().String(), t.Trackers, t.Files})
	}
	fields := [][2]string{
		{"name", printable(t.Name)},
		{"size", exactBytes(t.Size)},
		{"pieces", fmt.Sprintf("%d of up to %s", t.NumPieces(), humanize.IBytes(torrentfmt.PieceSize))},
		{"torrent ID", t.ID().String()},
		{"tracker 1", t.Trackers[0]},
		{"tracker 2", t.Trackers[1]},
	}
	if t.Folder() {
		fields = append(fields, [2]string{"files", strconv.Itoa(len(t.Files))})
	}
	if err := writeFields(w, fields); err != nil {
		return err
	}
	for _, f := range t.Files[:min(len(t.Files), maxShownFiles)] {
		mark := ""
		if f.Executable {
			mark = " (executable)"
		}
		if _, err := fmt.Fprintf(w, "  %s, %s%s\n", printable(f.Path), exactBytes(f.Size), mark); err != nil {
			return err
		}
	}
	if more := len(t.Files) - maxShownFiles; more > 0 {
		if _, err := fmt.Fprintf(w, "  and %d more (--json lists all)\n", more); err != nil {
			return err
		}
	}
	return nil
}

// maxShownFiles keeps the answer for a person readable.
const maxShownFiles = 50

func newTorrentVerifyCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE.mtorrent FILE|FOLDER",
		Short: "Hold a file or a folder against its .mtorrent",
		Long: `Reads FILE, or the file in FOLDER that has the torrent's filename, and says how
many pieces are good and which are bad or missing. Pieces count from 0. For the
.mtorrent of a folder FOLDER is that folder, or the one that it is in.

Exit codes: 0 the file is whole, 1 it is not or cannot be read, 2 wrong usage.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return verify(cmd, args[0], args[1], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "answer as one JSON object, with every bad range")
	return cmd
}

// verifyReport is what `verify --json` answers.
type verifyReport struct {
	Name   string       `json:"filename"`
	Path   string       `json:"path"`
	Want   int64        `json:"filesize"`
	Size   int64        `json:"actual_size"`
	Pieces int          `json:"pieces"`
	Good   int          `json:"good"`
	Bad    []pieceRange `json:"bad"`
	Whole  bool         `json:"whole"`
}

func verify(cmd *cobra.Command, mtorrent, path string, asJSON bool) error {
	t, err := torrentfmt.Open(mtorrent)
	if err != nil {
		return err
	}
	inside := filepath.Join(path, t.Name)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if in, err := os.Stat(inside); !t.Folder() || err == nil && in.IsDir() {
			path = inside
		}
	}
	progress := newHashProgress(cmd.ErrOrStderr())
	have, size, err := verifyAt(cmd.Context(), t, path, progress.update)
	progress.clear()
	if err != nil {
		return err
	}
	r := verifyReport{
		Name:   t.Name,
		Path:   path,
		Want:   t.Size,
		Size:   size,
		Pieces: t.NumPieces(),
		Good:   int(have.Count()),
		Bad:    clearRanges(have),
		Whole:  have.All() && size == t.Size,
	}
	if asJSON {
		err = writeJSON(cmd.OutOrStdout(), r)
	} else {
		err = r.write(cmd.OutOrStdout())
	}
	if err != nil || r.Whole {
		return err
	}
	return fmt.Errorf("%s is not whole: %s", path, r.fault())
}

// verifyAt finds the good pieces of the file or folder at path, and its size.
func verifyAt(ctx context.Context, t *torrentfmt.Torrent, path string, progress func(done, total int64)) (*bitset.BitSet, int64, error) {
	if t.Folder() {
		return torrentfmt.VerifyFolder(ctx, t, path, progress)
	}
	f, err := torrentfmt.OpenRegular(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // only read from: nothing can be lost
	have, err := torrentfmt.Verify(ctx, t, f, progress)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	return have, info.Size(), nil
}

func (r *verifyReport) write(w io.Writer) error {
	size := exactBytes(r.Size)
	if r.Size != r.Want {
		size += ", want " + exactBytes(r.Want)
	}
	fields := [][2]string{
		{"file", r.Path},
		{"size", size},
		{"good", fmt.Sprintf("%d of %s", r.Good, pieceCount(r.Pieces))},
	}
	if len(r.Bad) > 0 {
		fields = append(fields, [2]string{"bad", joinRanges(r.Bad)})
	}
	return writeFields(w, fields)
}

func (r *verifyReport) fault() string {
	if r.Good < r.Pieces {
		return fmt.Sprintf("%d of %s bad or missing", r.Pieces-r.Good, pieceCount(r.Pieces))
	}
	return fmt.Sprintf("%d bytes, want %d", r.Size, r.Want)
}

// pieceRange is a run of pieces, both ends included.
type pieceRange struct {
	First uint `json:"first"`
	Last  uint `json:"last"`
}

// clearRanges are the runs of pieces that have lacks, never nil.
func clearRanges(have *bitset.BitSet) []pieceRange {
	ranges := []pieceRange{}
	for i, ok := have.NextClear(0); ok; {
		end, found := have.NextSet(i)
		if !found {
			return append(ranges, pieceRange{i, have.Len() - 1})
		}
		ranges = append(ranges, pieceRange{i, end - 1})
		i, ok = have.NextClear(end)
	}
	return ranges
}

// maxShownRanges keeps the answer for a person readable; --json tells all.
const maxShownRanges = 20

func joinRanges(ranges []pieceRange) string {
	var parts []string
	for _, r := range ranges[:min(len(ranges), maxShownRanges)] {
		s := strconv.FormatUint(uint64(r.First), 10)
		if r.Last > r.First {
			s += "-" + strconv.FormatUint(uint64(r.Last), 10)
		}
		parts = append(parts, s)
	}
	if more := len(ranges) - maxShownRanges; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more ranges (--json lists all)", more))
	}
	return strings.Join(parts, ", ")
}

func newTorrentCreateCmd() *cobra.Command {
	var trackers []string
	cmd := &cobra.Command{
		Use:   "create FILE|FOLDER OUT.mtorrent --tracker ADDR --tracker ADDR",
		Short: "Make the .mtorrent of a file or a folder",
		Long: `Hashes FILE, or all regular files in FOLDER, and writes OUT.mtorrent, which names
both trackers. An OUT.mtorrent that says the same already is left as it is;
anything else there is refused. Symbolic links, devices and the like in FOLDER
are left out, each with a line on stderr.

Exit codes: 0 ok, 1 the file is refused or cannot be read or written, 2 wrong
usage.`,
		Example: "  mtor torrent create disk.img disk.img.mtorrent --tracker 10.0.0.1:7000 --tracker 10.0.0.2:7000",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := arguments(2, 2)(cmd, args); err != nil {
				return err
			}
			if len(trackers) != 2 {
				return fmt.Errorf("--tracker is given %d times, want exactly 2", len(trackers))
			}
			for _, s := range trackers {
				if err := torrentfmt.CheckTracker(s); err != nil {
					return fmt.Errorf("--tracker %q: %w", s, err)
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return create(cmd, args[0], args[1], [2]string(trackers))
		},
	}
	cmd.Flags().StringArrayVar(&trackers, "tracker", nil, "address of a tracker, host:port or tcp://host:port or quic://host:port; give two")
	return cmd
}

func create(cmd *cobra.Command, path, out string, trackers [2]string) error {
	// Better to hear it now than after an hour of hashing.
	if info, err := os.Stat(filepath.Dir(out)); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", filepath.Dir(out))
	}
	progress := newHashProgress(cmd.ErrOrStderr())
	var t *torrentfmt.Torrent
	var left []string
	var err error
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		t, _, err = torrentfmt.CreateFolder(cmd.Context(), path, trackers, progress.update, func(path, what string) {
			left = append(left, fmt.Sprintf("left out: %s is %s", printable(path), what))
		})
	} else {
		t, err = torrentfmt.Create(cmd.Context(), path, trackers, progress.update)
	}
	progress.clear()
	for _, line := range left {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), line)
	}
	if err != nil {
		return err
	}
	reused, err := torrentfmt.WriteFile(out, t)
	if err != nil {
		return err
	}
	done := "wrote"
	if reused {
		done = "reused"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s, %s, torrent ID %s\n",
		done, out, humanize.IBytes(uint64(t.Size)), pieceCount(t.NumPieces()), t.ID())
	return err
}

func pieceCount(n int) string {
	if n == 1 {
		return "1 piece"
	}
	return fmt.Sprintf("%d pieces", n)
}

func exactBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%s (%d bytes)", humanize.IBytes(uint64(n)), n)
}

// printable quotes a name that would not show as it is, such as one that turns
// the direction of writing.
func printable(name string) string {
	for _, r := range name {
		if !strconv.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}

// visible is text with each character written out that a terminal does not show,
// as Go and JSON write them.
func visible(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[n:]
	}
	return b.String()
}

func writeFields(w io.Writer, fields [][2]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var errs []error
	for _, f := range fields {
		_, err := fmt.Fprintf(tw, "%s:\t%s\n", f[0], f[1])
		errs = append(errs, err)
	}
	return errors.Join(append(errs, tw.Flush())...)
}

func writeJSON(w io.Writer, v any) error { return encode(w, v, "  ") }

// encode writes JSON that shows as it is on a terminal too: of the characters
// that hide or turn text, \u of JSON is written.
func encode(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	out := make([]byte, 0, b.Len())
	for _, r := range b.String() {
		switch {
		case r == '\n' || strconv.IsPrint(r):
			out = utf8.AppendRune(out, r)
		default:
			for _, unit := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, `\u%04x`, unit)
			}
		}
	}
	_, err := w.Write(out)
	return err
}
