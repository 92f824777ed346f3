package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/sim/dhtmodel"
)

// draw prints the results as tables, and draws their curves into a folder.
func draw(file, dir string, out io.Writer) error {
	res, err := load(file)
	if err != nil {
		return err
	}
	res.table(out)
	for name, picture := range map[string]string{
		"scale-load.svg": res.load(), "scale-hours.svg": res.hours(), "scale-finds.svg": res.finds(), "scale-size.svg": res.size(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(picture), 0o644); err != nil { //nolint:gosec // a picture for everybody
			return err
		}
	}
	return nil
}

// row returns the row of a world; false: it was not played.
func (res results) row(groups int, hostile float64, eclipse, spread bool) (row, bool) {
	for _, r := range res.Rows {
		if r.Nodes == res.largest() && r.Groups == groups && r.Hostile == hostile && r.Eclipse == eclipse && r.Spread == spread {
			return r, true
		}
	}
	return row{}, false
}

func (res results) largest() (n int) {
	for _, r := range res.Rows {
		n = max(n, r.Nodes)
	}
	return n
}

// name tells which world a row is of.
func (r row) name() string {
	out := "before"
	if r.Spread {
		out = "now"
	}
	if r.Hostile > 0 {
		out += fmt.Sprintf(", %.0f %% hostile", 100*r.Hostile)
	}
	if r.Eclipse {
		out += ", a key eclipsed"
	}
	return out
}

func (res results) table(to io.Writer) {
	out := tabwriter.NewWriter(to, 0, 0, 1, ' ', tabwriter.AlignRight|tabwriter.Debug)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\t\n", args...) }
	line("nodes\tgroups\t\trecords: mean\t99th\tmost\tof one key\trequests/h: mean\t99th\tmost\tMB/h: mean\tmost\twalk\tgone, %%\tkB/h of publishing\tkB/h of tables\tlost, %%")
	for _, r := range res.Rows {
		p := r.Report
		line("%d\t%d\t%s\t%.0f\t%.0f\t%.0f\t%d\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.1f\t%.1f\t%.0f\t%.0f\t%.3f", r.Nodes, r.Groups, r.name(),
			p.Records.Mean, p.Records.P99, p.Records.Most, p.HotKey, p.Asked.Mean, p.Asked.P99, p.Asked.Most, p.Sent.Mean/1e6, p.Sent.Most/1e6,
			p.RequestsOfWalk, 100*p.Failed, p.BytesOfNode/1e3, p.BytesOfRefreshes/1e3, 100*p.Lost)
	}
	line("\nnodes\tgroups\t\tfind\tfound, %%\tgroups\thops\trequests\tkB\tfirst, s\tmedian, s\tp95, s")
	for _, r := range res.Rows {
		for _, f := range r.Report.Finds {
			line("%d\t%d\t%s\t%s\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f", r.Nodes, r.Groups, r.name(), f.Kind, 100*f.Share, f.Groups, f.Hops, f.Requests, f.Bytes/1e3, f.First, f.Median, f.P95)
		}
	}
	line("\nannouncers of one key\trecords at one server: before\tnow\twrites/h: before\tnow\tother keys left, %%: before\tnow")
	for _, h := range res.Hot {
		line("%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f", h.Before.Announcers, h.Before.Records, h.After.Records, h.Before.Writes, h.After.Writes, 100*h.Before.Others, 100*h.After.Others)
	}
	a, b := res.fit()
	line("\nservers\trequests of a walk\tshards of public groups\tof mailboxes\tservers of a shard")
	for _, n := range []float64{1e3, 1e4, 1e5, 1e6} {
		servers := n * (1 - dhtmodel.HenningsenNAT)
		d := discovery.Depth(servers)
		line("%.0f\t%.0f\t%d\t%d\t%.0f", servers, a+b*math.Log2(n), 1<<d, 1<<discovery.Depth(servers/8), servers/float64(int(1)<<d))
	}
	_ = out.Flush()
}

// fit is the straight line of the requests of a walk over the logarithm of the nodes, through
// the worlds with few groups.
func (res results) fit() (a, b float64) {
	var n, x, y, xx, xy float64
	for _, r := range res.sizes() {
		lx := math.Log2(float64(r.Nodes))
		n, x, y, xx, xy = n+1, x+lx, y+r.Report.RequestsOfWalk, xx+lx*lx, xy+lx*r.Report.RequestsOfWalk
	}
	b = (n*xy - x*y) / (n*xx - x*x)
	return (y - b*x) / n, b
}

// sizes are the worlds of growing size, without anybody hostile.
func (res results) sizes() (out []row) {
	for _, r := range res.Rows {
		if r.Spread && r.Hostile == 0 && r.Groups <= max(10, r.Nodes/10) {
			out = append(out, r)
		}
	}
	for i := range out {
		for k := range out[:i] {
			if out[i].Nodes < out[k].Nodes {
				out[i], out[k] = out[k], out[i]
			}
		}
	}
	return out
}

// Colours of before, now, now among hostile servers, and now with a key eclipsed.
var colours = []string{"#9aa5b1", "#2f6f9f", "#d08a2e", "#a33a3a"}

const (
	width, height = 760, 330
	left, right   = 64, 20
	top, bottom   = 62, 62
)

// picture is a drawing under way.
type picture struct{ b strings.Builder }

func (p *picture) add(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

func (p *picture) text(x, y float64, anchor, words string) {
	p.add(`<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, words)
}

func (p *picture) end(title string, legend []string) string {
	var head picture
	head.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#1d2129" role="img" aria-label="%s">`, width, height, title)
	head.add(`<rect width="100%%" height="100%%" fill="#ffffff"/>`)
	head.add(`<text x="%d" y="20" font-size="14" font-weight="bold">%s</text>`, 12, title)
	x := 12.0
	for n, l := range legend {
		head.add(`<rect x="%.1f" y="31" width="11" height="11" fill="%s"/>`, x, colours[n])
		head.text(x+16, 41, "start", l)
		x += 34 + 6.6*float64(len(l))
	}
	return head.b.String() + p.b.String() + "</svg>\n"
}

// scale maps values to heights, by their logarithm if it begins above zero.
type scale struct{ low, high float64 }

func (s scale) y(v float64) float64 {
	share := v / s.high
	if s.low > 0 {
		share = math.Log(max(v, s.low)/s.low) / math.Log(s.high/s.low)
	}
	return height - bottom - share*(height-bottom-top)
}

func (p *picture) grid(s scale, unit string) {
	var marks []float64
	if s.low > 0 {
		for v := s.low; v <= s.high*1.001; v *= 10 {
			marks = append(marks, v)
		}
	} else {
		for n := range 6 {
			marks = append(marks, s.high*float64(n)/5)
		}
	}
	for _, v := range marks {
		p.add(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e3e6ea"/>`, left, s.y(v), width-right, s.y(v))
		p.text(left-6, s.y(v)+4, "end", number(v)+unit)
	}
}

func number(v float64) string {
	if v >= 1e6 {
		return fmt.Sprintf("%.0f,%03.0f,000", math.Floor(v/1e6), math.Mod(v, 1e6)/1000)
	}
	if v >= 1000 {
		return fmt.Sprintf("%.0f,%03.0f", math.Floor(v/1000), math.Mod(v, 1000))
	}
	return fmt.Sprintf("%.4g", v)
}

// bars are groups of bars, one for each of a legend; a value below zero has none.
func bars(title string, legend, names []string, values [][]float64, s scale, unit, format string) string {
	var p picture
	p.grid(s, unit)
	room := float64(width-left-right) / float64(len(names))
	w := room * 0.8 / float64(len(legend))
	for n, name := range names {
		x := left + room*(float64(n)+0.1)
		for k, v := range values[n] {
			if v < 0 {
				continue
			}
			y := s.y(v)
			p.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x+w*float64(k), y, w-2, max(1, height-bottom-y), colours[k])
			p.add(`<text x="%.1f" y="%.1f" text-anchor="middle" font-size="10">%s</text>`, x+w*(float64(k)+0.5)-1, y-4, fmt.Sprintf(format, v))
		}
		for k, l := range strings.Split(name, "\n") {
			p.text(left+room*(float64(n)+0.5), height-bottom+16+14*float64(k), "middle", l)
		}
	}
	return p.end(title, legend)
}

// load is what the fullest server has, before and now.
func (res results) load() string {
	var names []string
	var values [][]float64
	n := res.largest()
	for _, what := range []struct {
		name string
		of   func(dhtmodel.Report) float64
	}{
		{"records at the\nfullest server", func(r dhtmodel.Report) float64 { return r.Records.Most }},
		{"requests an hour\nat the busiest", func(r dhtmodel.Report) float64 { return r.Asked.Most }},
	} {
		for _, groups := range []int{n / 10, n} {
			before, _ := res.row(groups, 0, false, false)
			now, _ := res.row(groups, 0, false, true)
			values = append(values, []float64{what.of(before.Report), what.of(now.Report)})
			names = append(names, what.name+fmt.Sprintf("\nof %s groups", number(float64(groups))))
		}
	}
	return bars(fmt.Sprintf("The hottest of %s nodes", number(float64(n))), []string{"before", "now"}, names, values, scale{10, 100000}, "", "%.0f")
}

// finds are the shares of finds that found.
func (res results) finds() string {
	few := res.largest() / 10
	var rows []row
	for _, want := range []struct {
		hostile         float64
		eclipse, spread bool
	}{{0, false, false}, {0, false, true}, {0.2, false, true}, {0.2, true, true}} {
		r, ok := res.row(few, want.hostile, want.eclipse, want.spread)
		if !ok {
			continue
		}
		rows = append(rows, r)
	}
	var legend, names []string
	for _, r := range rows {
		legend = append(legend, r.name())
	}
	var values [][]float64
	for n, f := range rows[0].Report.Finds {
		names = append(names, f.Kind)
		var of []float64
		for _, r := range rows {
			of = append(of, 100*r.Report.Finds[n].Share)
		}
		values = append(values, of)
	}
	return bars(fmt.Sprintf("Finds that find, of %s groups", number(float64(few))), legend, names, values, scale{0, 100}, " %", "%.0f")
}

// lines are curves over a number; log says that it is laid off by its logarithm.
func lines(title string, legend []string, xs []float64, ys [][]float64, s scale, log bool, xName string) string {
	var p picture
	p.grid(s, "")
	at := func(x float64) float64 {
		share := (x - xs[0]) / (xs[len(xs)-1] - xs[0])
		if log {
			share = math.Log(x/xs[0]) / math.Log(xs[len(xs)-1]/xs[0])
		}
		return left + share*(width-left-right-20)
	}
	for n, x := range xs {
		if len(xs) < 10 || n%6 == 5 {
			p.text(at(x), height-bottom+17, "middle", number(x))
		}
	}
	p.text((width+left-right)/2, height-8, "middle", xName)
	for k, y := range ys {
		var points []string
		for n, v := range y {
			points = append(points, fmt.Sprintf("%.1f,%.1f", at(xs[n]), s.y(v)))
		}
		p.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(points, " "), colours[k])
	}
	return p.end(title, legend)
}

// hours is how the fullest server fills.
func (res results) hours() string {
	n := res.largest()
	before, _ := res.row(n, 0, false, false)
	now, _ := res.row(n, 0, false, true)
	var xs []float64
	ys := make([][]float64, 2)
	for k, h := range before.Report.Series[:min(len(before.Report.Series), len(now.Report.Series))] {
		xs = append(xs, float64(h.Hour))
		ys[0] = append(ys[0], float64(h.Most))
		ys[1] = append(ys[1], float64(now.Report.Series[k].Most))
	}
	return lines(fmt.Sprintf("Provider records at the fullest server, %s groups (its bound is 16,384)", number(float64(n))), []string{"before", "now"}, xs, ys, scale{0, 20000}, false, "hours")
}

// size is what a walk costs in networks of several sizes, and on paper in one of a million.
func (res results) size() string {
	var xs []float64
	ys := make([][]float64, 2)
	for _, r := range res.sizes() {
		xs = append(xs, float64(r.Nodes))
		ys[0] = append(ys[0], r.Report.RequestsOfWalk)
		ys[1] = append(ys[1], r.Report.RequestsOfWalk)
	}
	a, b := res.fit()
	xs = append(xs, 1e6)
	ys[0] = append(ys[0], a+b*math.Log2(1e6))
	return lines("Requests of a walk", []string{"straight on, to a million", "played"}, xs, ys, scale{0, 100}, true, "nodes online")
}
