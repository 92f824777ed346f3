package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// ErrInvalid is wrapped by every error about what is configured; other errors are
// about reading it.
var ErrInvalid = errors.New("configuration")

// Load reads the configuration: defaults, the file if there is one, the variables
// of environ ("NAME=value") and the flags, by name, that were given. Relative paths
// of files count from the directory of the configuration file in the file, and
// from the working directory elsewhere.
func Load(p Paths, environ []string, flags map[string]string) (Config, error) {
	c := Default(p)
	if err := c.loadFile(p.File); err != nil {
		return Config{}, err
	}
	if err := c.loadEnv(environ); err != nil {
		return Config{}, err
	}
	for _, k := range keys {
		if text, ok := flags[k.Flag()]; ok {
			if err := k.setHere(&c, text); err != nil {
				return Config{}, fmt.Errorf("%w: --%s: %w", ErrInvalid, k.Flag(), err)
			}
		}
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}

func (c *Config) loadFile(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	err = toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(c)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		errs := make([]error, len(strict.Errors))
		for i, e := range strict.Errors {
			line, _ := e.Position()
			key := strings.Join(e.Key(), ".")
			errs[i] = fmt.Errorf("%w: %s:%d: there is no key %q%s", ErrInvalid, path, line, key, meant(key, paths()))
		}
		return errors.Join(errs...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := e.Position()
		return fmt.Errorf("%w: %s:%d:%d: %s", ErrInvalid, path, line, column, strings.TrimPrefix(e.Error(), "toml: "))
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, path, err)
	}
	dir := filepath.Dir(path)
	for _, f := range []*string{&c.PassphraseFile, &c.KeyFile, &c.DataDir, &c.Trace.File} {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(dir, *f)
		}
	}
	return nil
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
	case any(&c.PassphraseFile), any(&c.KeyFile), any(&c.DataDir), any(&c.Trace.File):
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
