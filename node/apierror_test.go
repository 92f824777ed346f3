package node

import (
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/storage"
)

// A store that may not be read or written is not damaged, whatever the database makes of it.
func TestForbiddenIsNotDamaged(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]api.Code{
		fmt.Errorf("%w: %w", storage.ErrCorrupt, &fs.PathError{Op: "open", Path: "db/MANIFEST", Err: syscall.EACCES}): api.CodeNotPermitted,
		fmt.Errorf("%w: %w", storage.ErrCorrupt, syscall.EROFS):                                                       api.CodeNotPermitted,
		fmt.Errorf("%w: %w", storage.ErrLocked, fs.ErrPermission):                                                     api.CodeLocked,
		fmt.Errorf("%w: %w", storage.ErrCorrupt, io.ErrUnexpectedEOF):                                                 api.CodeCorrupt,
	} {
		if got := api.CodeOf(APIError(err)); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
