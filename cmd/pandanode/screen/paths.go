package screen

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// filePlace is a line up to the cursor that ends in the path of a file to send, which may be in
// quotes that are still open.
var filePlace = regexp.MustCompile(`^/send\s+(?:--\S+\s+)*--file[ =]("[^"]*|[^"\s]*)$`)

// pathIn gives the path that a line ends in, without its quote, and where it begins.
func pathIn(line string) (path string, from int, ok bool) {
	at := filePlace.FindStringSubmatchIndex(line)
	if at == nil {
		return "", 0, false
	}
	return strings.TrimPrefix(line[at[2]:], `"`), at[2], true
}

// pathsListed takes the paths that a beginning can become, unless somebody has gone on typing.
func (m *model) pathsListed(msg pathsListed) []want {
	x := &m.complete
	if msg.seq != x.seq || m.mode != writing || m.chat() == nil {
		return nil
	}
	if len(msg.list) == 0 {
		*x = completion{}
		return nil
	}
	x.list, x.seq = msg.list, 0
	return m.completed()
}

// pathsFrom lists what the beginning of a path can become, as it is typed: with "~" where that
// was, in quotes where it has spaces, and open ones where it is a folder, which goes on.
func pathsFrom(begin, home string) (out []string) {
	const most = 100
	dir, base := begin[:strings.LastIndexByte(begin, '/')+1], begin[strings.LastIndexByte(begin, '/')+1:]
	if begin == "~" {
		return []string{"~/"}
	}
	in := dir
	if rest, ok := strings.CutPrefix(dir, "~/"); ok && home != "" {
		in = filepath.Join(home, rest)
	}
	if in == "" {
		in = "."
	}
	all, err := os.ReadDir(in)
	if err != nil {
		return nil // there is nothing to complete
	}
	for _, f := range all {
		name := f.Name()
		switch {
		case !strings.HasPrefix(name, base), base == "" && strings.HasPrefix(name, "."):
			continue
		case strings.ContainsFunc(name, func(r rune) bool { return r == '"' || unicode.IsControl(r) || line(string(r)) != string(r) }):
			continue // it could not be shown, or not be typed
		}
		st, err := os.Stat(filepath.Join(in, name)) // also behind a link
		folder := err == nil && st.IsDir()
		path := dir + name
		if folder {
			path += "/"
		}
		if strings.Contains(path, " ") {
			if path = `"` + path; !folder {
				path += `"`
			}
		}
		out = append(out, path)
	}
	slices.Sort(out)
	return out[:min(len(out), most)]
}
