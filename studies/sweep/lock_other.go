//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package sweep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// lock keeps other processes out of a folder until the function that it returns
// is called. A process that is killed leaves its file behind, which has to be
// removed by hand.
func lock(dir string) (unlock func(), err error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		owner, _ := os.ReadFile(name)
		return nil, &BusyError{Dir: dir, Process: strings.TrimSpace(string(owner)), Stale: name}
	}
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintln(f, os.Getpid())
	f.Close()
	return func() { os.Remove(name) }, err
}
