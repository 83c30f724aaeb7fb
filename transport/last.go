package transport

import "errors"

// WriteLast writes p as the last of a stream and half-closes it. A peer that
// has read what it needs may close the stream (code 0) before the write has
// returned; that is no error.
func WriteLast(st Stream, p []byte) error {
	_, err := st.Write(p)
	if err == nil {
		err = st.CloseWrite()
	}
	var abort *AbortError
	if errors.As(err, &abort) && abort.Remote && abort.Code == 0 {
		return nil
	}
	return err
}
