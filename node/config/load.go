package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// ErrInvalid is wrapped by every error about a configured value; other errors are about
// reading the configuration.
var ErrInvalid = errors.New("configuration")

// Load reads the configuration: defaults, the file if there is one, the variables of
// environ ("NAME=value") and the flags, by name, that were given. Relative paths in the
// file count from the directory of the file, all others from the working directory. If it can
// be read and [Config.Validate] refuses it, Load returns it with the error.
func Load(p Paths, environ []string, flags map[string]string) (Config, error) {
	c := Default(p)
	if err := c.loadFile(p.File); err != nil {
		return Config{}, err
	}
	if err := c.loadEnv(environ); err != nil {
		return Config{}, err
	}
	env := func(name string) (text string) {
		for _, v := range environ {
			if n, t, _ := strings.Cut(v, "="); n == name {
				text = t // the last counts, as in loadEnv
			}
		}
		return text
	}
	c.unlockOnce(env(envPrefix+"PASSPHRASE_FILE"), env(envPrefix+"KEY_FILE"))
	for _, k := range keys {
		if text, ok := flags[k.Flag()]; ok {
			if err := k.setHere(&c, text); err != nil {
				return Config{}, fmt.Errorf("%w: --%s: %w", ErrInvalid, k.Flag(), err)
			}
		}
	}
	c.unlockOnce(flags["passphrase-file"], flags["key-file"])
	if err := c.Validate(); err != nil {
		locate(err, p, environ, flags)
		return c, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}

// unlockOnce lets the passphrase file of one source replace the key file of a lower source,
// and the other way round. A source that gives both is an error.
func (c *Config) unlockOnce(passphraseFile, keyFile string) {
	switch {
	case passphraseFile != "" && keyFile == "":
		c.KeyFile = ""
	case keyFile != "" && passphraseFile == "":
		c.PassphraseFile = ""
	}
}

func (c *Config) loadFile(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	return c.read(path, text)
}

// read takes the values of a file with this text.
func (c *Config) read(path string, text []byte) error {
	text = bytes.TrimPrefix(text, []byte("\uFEFF")) // some editors write one
	if wrong := notUTF8(path, text); wrong != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, wrong)
	}
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(c)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		errs := make([]error, len(strict.Errors))
		for i, e := range strict.Errors {
			line, column := e.Position()
			key := strings.Join(e.Key(), ".")
			known := paths()
			if rest, ok := strings.CutPrefix(key, "hook."); ok {
				key, known = rest, slices.Sorted(maps.Keys(hookKeys))
			}
			errs[i] = fmt.Errorf("%w: %w", ErrInvalid, mistake(path, text, line, column, fmt.Sprintf("there is no key %q%s", key, meant(key, known))))
		}
		return errors.Join(errs...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := e.Position()
		why := mistyped(text)
		if why == "" {
			why = wordsFor(e.Error(), text, line, column)
		}
		return fmt.Errorf("%w: %w", ErrInvalid, mistake(path, text, line, column, why))
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %s", ErrInvalid, path, unreadable)
	}
	dir := filepath.Dir(path)
	files := []*string{&c.PassphraseFile, &c.KeyFile, &c.DataDir, &c.Trace.File, &c.Log.File}
	for i := range c.Hooks {
		files = append(files, &c.Hooks[i].SecretFile)
	}
	for _, f := range files {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(dir, *f)
		}
	}
	return nil
}

// mistyped names the first key of a file whose value has the wrong type, and the type it
// should have. It returns an empty text if there is none, or if the file is no TOML.
func mistyped(text []byte) string {
	var all map[string]any
	if toml.Unmarshal(text, &all) != nil {
		return ""
	}
	for _, k := range keys {
		at, name := all, k.Path
		if section, rest, ok := strings.Cut(k.Path, "."); ok {
			v, ok := all[section]
			if !ok {
				continue
			}
			if at, ok = v.(map[string]any); !ok {
				return fmt.Sprintf("%s is a section, [%s], and no key of its own: there is %s, for one", section, section, k.Path)
			}
			name = rest
		}
		if v, ok := at[name]; ok && !k.fits(v) {
			return fmt.Sprintf("%s is to be %s, not %s", k.Path, k.expects(), typeName(v))
		}
	}
	return mistypedHook(all)
}

// typeName names the type of a TOML value for people.
func typeName(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("text in quotes (%q)", v)
	case int64, float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return fmt.Sprint(v)
	case []any:
		return "a list of something else"
	case map[string]any:
		return "a section"
	}
	return "a date or time"
}

func (c *Config) loadEnv(environ []string) error {
	byName := map[string]Key{}
	names := []string{envHome}
	for _, k := range keys {
		byName[k.Env()] = k
		names = append(names, k.Env())
	}
	for _, v := range environ {
		name, text, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, envPrefix) || name == envHome {
			continue
		}
		k, ok := byName[name]
		if !ok {
			return fmt.Errorf("%w: there is no variable %s%s", ErrInvalid, name, meant(name, names))
		}
		if err := k.setHere(c, text); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, name, err)
		}
	}
	return nil
}

// setHere is set with paths made absolute from the working directory.
func (k Key) setHere(c *Config, text string) error {
	switch k.at(c) {
	case any(&c.PassphraseFile), any(&c.KeyFile), any(&c.DataDir), any(&c.Trace.File), any(&c.Log.File):
		if text != "" {
			abs, err := filepath.Abs(text)
			if err != nil {
				return err
			}
			text = abs
		}
	}
	return k.set(c, text)
}

func paths() []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.Path
	}
	return out
}

func meant(name string, candidates []string) string {
	if n := nearest(name, candidates); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}
