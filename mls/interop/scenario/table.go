package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pandanode/pandanode/mls/interop/mlsclient"
)

// Row is how one scenario went with one cast, over all setups.
type Row struct {
	Scenario, Creator, Joiner string
	Passed, Skipped, Failed   int
	Notes                     []string // the distinct reasons for Skipped and Failed
}

// Suites are what both peers support.
func Suites(ctx context.Context, a, b Peer) ([]uint32, error) {
	var lists [2][]uint32
	for i, peer := range []Peer{a, b} {
		out, err := peer.Client.SupportedCiphersuites(ctx, &mlsclient.SupportedCiphersuitesRequest{})
		if err != nil {
			return nil, fmt.Errorf("%s: SupportedCiphersuites: %w", peer.Name, err)
		}
		lists[i] = out.GetCiphersuites()
	}
	both := slices.DeleteFunc(lists[0], func(s uint32) bool { return !slices.Contains(lists[1], s) })
	if len(both) == 0 {
		return nil, fmt.Errorf("%s and %s share no ciphersuite", a.Name, b.Name)
	}
	return both, nil
}

// Setups are all combinations of suite, encrypt_handshake and external_tree.
func Setups(suites []uint32, seed uint64) []Setup {
	var out []Setup
	for _, s := range suites {
		for bits := range 4 {
			out = append(out, Setup{Suite: s, Encrypt: bits&1 != 0, ExternalTree: bits&2 != 0, Seed: seed})
		}
	}
	return out
}

// Play runs list with one cast in every setup, a row per scenario. A failure that
// explain knows is counted as skipped: a deviation of the peer from RFC 9420 that has
// to be refused. explain may be nil.
func Play(ctx context.Context, list []Scenario, creator, joiner Peer, setups []Setup, explain func(Row, error) (string, bool)) []Row {
	var rows []Row
	for _, s := range list {
		row := Row{Scenario: s.Name, Creator: creator.Name, Joiner: joiner.Name}
		for _, setup := range setups {
			err := s.Run(ctx, creator, joiner, setup)
			var missing *NotOffered
			switch {
			case err == nil:
				row.Passed++
			case errors.As(err, &missing):
				row.Skipped++
				row.note(missing.Error(), setup)
			default:
				if why, ok := explained(explain, row, err); ok {
					row.Skipped++
					row.note(why, setup)
					continue
				}
				row.Failed++
				row.note(err.Error(), setup)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func explained(explain func(Row, error) (string, bool), row Row, err error) (string, bool) {
	if explain == nil {
		return "", false
	}
	return explain(row, err)
}

// note keeps why, with the first setup that it was said of.
func (r *Row) note(why string, setup Setup) {
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, why+" (") }) {
		r.Notes = append(r.Notes, fmt.Sprintf("%s (first with %v)", why, setup))
	}
}

// Print writes rows as a table, with the reasons of what did not pass below it, and
// gives the totals.
func Print(w io.Writer, rows []Row) (passed, skipped, failed int) {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\tcreates\tjoins\tpassed\tnot offered\tfailed")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\n", r.Scenario, r.Creator, r.Joiner, r.Passed, r.Skipped, r.Failed)
		passed, skipped, failed = passed+r.Passed, skipped+r.Skipped, failed+r.Failed
	}
	fmt.Fprintf(table, "total\t\t\t%d\t%d\t%d\n", passed, skipped, failed)
	table.Flush()
	for _, r := range rows {
		for _, n := range r.Notes {
			fmt.Fprintf(w, "%s, %s creates, %s joins: %s\n", r.Scenario, r.Creator, r.Joiner, strings.ReplaceAll(n, "\n", " "))
		}
	}
	return passed, skipped, failed
}
