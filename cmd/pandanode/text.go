package main

import "github.com/pandanode/pandanode/internal/printable"

// clean makes text of other people safe to be part of a line of a terminal.
func clean(s string) string { return printable.Clean(s) }

// escaped returns JSON in which characters that clean would replace are escaped.
func escaped(text []byte) []byte { return printable.Escaped(text) }
