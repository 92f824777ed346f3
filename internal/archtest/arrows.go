package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
)

// An Arrow leads from a file to one of the same package that declares what it uses: a type,
// a function, a method, a field, a constant or a variable.
type Arrow struct{ From, To string }

// Arrows gives the arrows between the files of a package, tests excepted, with the names that
// each stands for. Other packages are not read: what is only known through them is not seen.
func Arrows(root fs.FS, dir string) (map[Arrow][]string, error) {
	names, err := fs.Glob(root, path.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(set, path.Base(name), text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	lenient := types.Config{Importer: noPackages{}, Error: func(error) {}}
	pkg, _ := lenient.Check(dir, set, files, info) // it has errors: the imports are empty
	arrows := make(map[Arrow][]string)
	for id, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		a := Arrow{set.Position(id.Pos()).Filename, set.Position(object.Pos()).Filename}
		if a.From != a.To && !slices.Contains(arrows[a], object.Name()) {
			arrows[a] = append(arrows[a], object.Name())
		}
	}
	return arrows, nil
}

// noPackages stands for every import by an empty package.
type noPackages struct{}

func (noPackages) Import(name string) (*types.Package, error) {
	p := types.NewPackage(name, path.Base(name))
	p.MarkComplete()
	return p, nil
}

// Up gives the arrows that run back up when the files are laid out from the top down so that
// few do. The layout is found by moving one file at a time to its best place, from several
// beginnings: there may be a better one.
func Up(arrows map[Arrow][]string) (up []string, order []string) {
	const beginnings = 40
	var files []string
	for a := range arrows {
		files = append(files, a.From, a.To)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	upIn := func(order []string) (out []Arrow) {
		for i, from := range order {
			for _, to := range order[:i] {
				if arrows[Arrow{from, to}] != nil {
					out = append(out, Arrow{from, to})
				}
			}
		}
		return out
	}
	best := slices.Collect(maps.Keys(arrows))
	draw := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a beginning
	for range beginnings {
		try := slices.Clone(files)
		draw.Shuffle(len(try), func(i, j int) { try[i], try[j] = try[j], try[i] })
		for improve(try, arrows) {
		}
		if now := upIn(try); len(now) < len(best) {
			best, order = now, try
		}
	}
	for _, a := range best {
		up = append(up, fmt.Sprintf("%s uses %s of %s", a.From, strings.Join(arrows[a], ", "), a.To))
	}
	slices.Sort(up)
	return up, order
}

// improve moves each file to the place where fewest arrows run up, and says whether any moved.
func improve(order []string, arrows map[Arrow][]string) (moved bool) {
	gain := func(above, below string) int { // of putting the second above the first
		n := 0
		if arrows[Arrow{above, below}] != nil {
			n++
		}
		if arrows[Arrow{below, above}] != nil {
			n--
		}
		return n
	}
	for _, file := range slices.Clone(order) {
		i := slices.Index(order, file)
		to, least, sum := i, 0, 0
		for j := i - 1; j >= 0; j-- {
			if sum += gain(order[j], file); sum < least {
				to, least = j, sum
			}
		}
		sum = 0
		for j := i + 1; j < len(order); j++ {
			if sum += gain(file, order[j]); sum < least {
				to, least = j, sum
			}
		}
		if to != i {
			copy(order[i:], order[i+1:])
			copy(order[to+1:], order[to:len(order)-1])
			order[to] = file
			moved = true
		}
	}
	return moved
}
