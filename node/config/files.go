package config

import (
	"errors"
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// Files says how much room files may take, as sizes such as 4GiB: see [Files.Limits].
type Files struct {
	Quota string `toml:"quota"` // of all files here
	Max   string `toml:"max"`   // of one that is sent
	Auto  string `toml:"auto"`  // of one of others that is fetched unasked
}

// FileLimits bounds files, in bytes.
type FileLimits struct{ Quota, Max, Auto int64 }

// largestFile is the most that any program of this kind takes.
const largestFile = 4 << 30

// Limits reads the sizes. The errors name their keys.
func (f Files) Limits() (out FileLimits, err error) {
	var errs wrongs
	for _, size := range []struct {
		key, text string
		most      uint64
		to        *int64
	}{
		{"files.quota", f.Quota, math.MaxInt64 / 2, &out.Quota},
		{"files.max", f.Max, largestFile, &out.Max},
		{"files.auto", f.Auto, largestFile, &out.Auto},
	} {
		n, err := humanize.ParseBytes(size.text)
		switch {
		case err != nil:
			errs.add(size.key, fmt.Errorf("%q is no size such as 1MiB or 4GiB", size.text))
		case n > size.most:
			errs.add(size.key, fmt.Errorf("%q is too large: at most %s", size.text, humanize.IBytes(size.most)))
		}
		if err == nil && n == 0 && size.to != &out.Auto {
			errs.add(size.key, fmt.Errorf("%q is too small", size.text))
		}
		*size.to = int64(min(n, size.most)) //nolint:gosec // bounded
	}
	if errs == nil && out.Max > out.Quota {
		errs.add("files.max", fmt.Errorf("%q is more than files.quota, %q", f.Max, f.Quota))
	}
	return out, errors.Join(errs...)
}
