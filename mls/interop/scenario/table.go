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
	Scenario, Creator, Joiner             string
	Passed, NotOffered, Deviating, Failed int
	Notes                                 []string // the distinct reasons for what did not pass
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

// Setups are the combinations of suite, encrypt_handshake and external_tree: all four
// for the first suite, for the others those where both are the same.
func Setups(suites []uint32, seed uint64) []Setup {
	var out []Setup
	for k, s := range suites {
		for bits := range 4 {
			if k > 0 && bits != 0 && bits != 3 {
				continue
			}
			out = append(out, Setup{Suite: s, Encrypt: bits&1 != 0, ExternalTree: bits&2 != 0, Seed: seed})
		}
	}
	return out
}

// Play runs list with one cast in every setup, a row per scenario. A failure of
// a known deviation is counted as such.
func Play(ctx context.Context, list []Scenario, creator, joiner Peer, setups []Setup, known []Deviation) []Row {
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
				row.NotOffered++
				row.note(missing.Error())
			default:
				at := slices.IndexFunc(known, func(d Deviation) bool { return d.explains(row, err) })
				if at >= 0 {
					row.Deviating++
					row.note(known[at].Peer + " " + known[at].Why)
					continue
				}
				row.Failed++
				row.note(fmt.Sprintf("FAILED with %v: %v", setup, err))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// Deviation is what a peer does against RFC 9420, or cannot be told to do, so that a
// scenario fails with it in this one way.
type Deviation struct {
	Peer     string
	Scenario string // prefix of the names of the scenarios it shows in
	Error    string // part of the error it shows by
	Why      string
}

func (d Deviation) explains(r Row, err error) bool {
	return (d.Peer == r.Creator || d.Peer == r.Joiner) && strings.HasPrefix(r.Scenario, d.Scenario) && strings.Contains(err.Error(), d.Error)
}

// note keeps why, once.
func (r *Row) note(why string) {
	if !slices.Contains(r.Notes, why) {
		r.Notes = append(r.Notes, why)
	}
}

// reasons are the distinct notes with the scenarios that they are of.
func reasons(rows []Row) []string {
	var order []string
	where := map[string][]string{}
	for _, r := range rows {
		for _, n := range r.Notes {
			if where[n] == nil {
				order = append(order, n)
			}
			if at := where[n]; !slices.Contains(at, r.Scenario) {
				where[n] = append(at, r.Scenario)
			}
		}
	}
	for k, n := range order {
		order[k] = fmt.Sprintf("%s: %s", strings.ReplaceAll(n, "\n", " "), strings.Join(where[n], ", "))
	}
	return order
}

// Print writes rows as a table, and below it why what did not pass did not; it gives
// how many failed.
func Print(w io.Writer, rows []Row) (failed int) {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\tcreates\tjoins\tpassed\tnot offered\tdeviates\tfailed")
	var total Row
	line := "%s\t%s\t%s\t%d\t%d\t%d\t%d\n"
	for _, r := range rows {
		fmt.Fprintf(table, line, r.Scenario, r.Creator, r.Joiner, r.Passed, r.NotOffered, r.Deviating, r.Failed)
		total.Passed += r.Passed
		total.NotOffered += r.NotOffered
		total.Deviating += r.Deviating
		total.Failed += r.Failed
	}
	fmt.Fprintf(table, line, "total", "", "", total.Passed, total.NotOffered, total.Deviating, total.Failed)
	_ = table.Flush()
	for _, why := range reasons(rows) {
		fmt.Fprintln(w, why)
	}
	return total.Failed
}
