package sim

import (
	"embed"
	"fmt"
	"html"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

//go:embed page.html compare.html style.html zoom.html
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "*.html"))

// WriteHTML writes the report as one self-contained page: it loads no script, font or
// picture.
func (r *Report) WriteHTML(out io.Writer) error {
	type figure struct {
		Title, Note string
		SVG         template.HTML
	}
	type section struct {
		Name    string
		Figures []figure
	}
	var sections []section
	for i, o := range r.obs {
		if i == 8 {
			break // a page is for looking at
		}
		d := newDrawing(r, i, o)
		s := section{Name: o.Group, Figures: []figure{
			{"Devices over time", "The colour of a line says on which branch of the epochs the device stood, the number which epoch; bands are the sides of a partition.", d.timeline()},
			{"The tree of epochs", "From left to right in the order of the commits. Under the end of each branch: who stood there last, before moving on.", d.tree()},
			{"Messages held", "Copies of messages in plaintext at those who must have them, of all copies owed by then.", d.held()},
			{"Convergence", "In how many different epochs the live members stood.", d.convergence()},
		}}
		if r.Series != nil && i == 0 {
			s.Figures = append(s.Figures, figure{"Traffic", "Bytes a minute of virtual time: what devices gossip in a full mesh, and syncs in both directions." + map[bool]string{true: " Of all groups together."}[len(r.obs) > 1], d.traffic()})
		}
		sections = append(sections, s)
	}
	return pages.ExecuteTemplate(out, "page.html", map[string]any{
		"Fold": len(r.Devices) > 24,
		"R":    r, "Sections": sections, "About": strings.TrimSpace(r.text.About), "Scenario": r.text.String(),
		"Virtual": span(time.Duration(r.Virtual * float64(time.Second))), "Many": len(r.obs) > 1, "Invariants": r.verdicts(), "Verdict": Verdict(r.Judged),
		"Quiet": r.quiet(), "Held": percent(r.Records.Held, r.Records.Owed), "More": len(r.obs) - len(sections),
	})
}

func percent(n, of int) string {
	if of == 0 {
		return "–"
	}
	s := fmt.Sprintf("%.1f", 100*float64(n)/float64(of))
	return strings.TrimSuffix(s, ".0") + " %"
}

// ruling is an invariant on the page.
type ruling struct {
	Invariant
	Subjects int
	Bad      []string
}

func (r *Report) verdicts() []ruling {
	out := make([]ruling, len(Invariants))
	for i, inv := range Invariants {
		out[i].Invariant = inv
		for _, j := range r.Judged {
			if j.Invariant == inv.Number {
				out[i].Subjects = j.Subjects
			}
		}
		for _, v := range r.Violations {
			if v.Invariant == inv.Number && len(out[i].Bad) < 12 {
				out[i].Bad = append(out[i].Bad, v.Detail)
			}
		}
	}
	return out
}

// Sizes of drawings, in units of which the page is about 1160 wide.
const (
	drawWidth = 1160
	leftEdge  = 96
	rightEdge = drawWidth - 14
)

// lanes returns the height of a device's lane and of the bar in it. With many devices they
// are smaller.
func lanes(devices int) (lane, bar int) {
	switch {
	case devices <= 24:
		return 27, 13
	case devices <= 48:
		return 18, 9
	default:
		return 12, 7
	}
}

// eventful is the part of the run that is drawn. When nothing happens any more for a tenth of
// the run or longer, that tail is cut off.
func (r *Report) eventful() time.Duration {
	var last time.Duration
	see := func(at time.Time) {
		if d := at.Sub(epochZero); d < r.text.Run { // then everybody writes once more
			last = max(last, d)
		}
	}
	for _, m := range r.world.hist.moves {
		see(m.At)
	}
	for _, m := range r.world.hist.marks {
		see(m.At)
	}
	for _, x := range r.world.hist.reads {
		see(x.At)
	}
	for _, p := range r.world.net.from {
		see(p.From)
		see(p.To)
	}
	if last += max(last/20, time.Second); last < r.text.Run*9/10 {
		return last
	}
	return r.text.Run
}

// quiet says which tail is not drawn, if any.
func (r *Report) quiet() string {
	if end := r.eventful(); end < r.text.Run {
		return fmt.Sprintf("From %s to the end, at %s, nothing happens: that is not drawn.", span(end.Round(time.Second)), span(r.text.Run))
	}
	return ""
}

// drawing draws one group of a run.
type drawing struct {
	r      *Report
	w      *core
	o      *observation
	group  int
	seats  []*seat // by the side of the first partition
	lane   int
	bar    int
	end    time.Duration
	order  []*dagEpoch
	branch map[*dagEpoch]int // 0: the chosen chain, or one on the way to it
	b      strings.Builder
}

func newDrawing(r *Report, i int, o *observation) *drawing {
	d := &drawing{r: r, w: r.world, o: o, group: i, seats: r.world.groups[i].seats, end: r.eventful(), order: o.Dag.inOrder(), branch: map[*dagEpoch]int{}}
	if cuts := r.world.net.from; len(cuts) > 0 {
		d.seats = slices.Clone(d.seats)
		slices.SortStableFunc(d.seats, func(a, b *seat) int { return cuts[0].place(a.n) - cuts[0].place(b.n) })
	}
	d.lane, d.bar = lanes(len(d.seats))
	chosen := map[*dagEpoch]bool{}
	for e := o.Head; e != nil; e = e.parent {
		chosen[e] = true
	}
	next := 1
	for _, e := range d.order {
		switch {
		case chosen[e]:
		case e.parent != nil && !chosen[e.parent] && d.branch[e.parent] > 0 && e.parent.children[0] == e:
			d.branch[e] = d.branch[e.parent]
		default:
			d.branch[e] = next
			next++
		}
	}
	return d
}

func (d *drawing) put(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

func (d *drawing) svg(height int, label string) template.HTML {
	s := fmt.Sprintf(`<svg viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>`, drawWidth, height, html.EscapeString(label), d.b.String())
	d.b.Reset()
	return template.HTML(s) //nolint:gosec // every text in it is escaped where it is put
}

// timed is svg of a figure over time, which the page zooms: what lies between moving and still
// moves with the time, and the axis has its place from top to bottom.
func (d *drawing) timed(height, top, bottom int, label string) template.HTML {
	s := fmt.Sprintf(`<svg class="time" data-end="%.3f" data-top="%d" data-bottom="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>`,
		d.end.Seconds(), top, bottom, drawWidth, height, html.EscapeString(label), d.b.String())
	d.b.Reset()
	return template.HTML(s) //nolint:gosec // every text in it is escaped where it is put
}

// moving begins what moves with the time: it is cut off at the edges. still ends it.
func (d *drawing) moving(height int) {
	d.put(`<svg class="t" x="%d" y="0" width="%d" height="%d" viewBox="%d 0 %d %d">`, leftEdge-6, rightEdge-leftEdge+12, height, leftEdge-6, rightEdge-leftEdge+12, height)
}

func (d *drawing) still() { d.put(`</svg>`) }

func (d *drawing) x(at time.Duration) float64 {
	at = min(max(at, 0), d.end)
	return leftEdge + float64(at)/float64(d.end)*(rightEdge-leftEdge)
}

func (d *drawing) since(t time.Time) time.Duration { return t.Sub(epochZero) }

// axis draws the times below a chart.
func (d *drawing) axis(top, bottom int) {
	steps := []time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
		15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		24 * time.Hour, 48 * time.Hour, 5 * 24 * time.Hour, 10 * 24 * time.Hour, 30 * 24 * time.Hour,
	}
	d.put(`<g class="axis">`)
	defer d.put(`</g>`)
	step := steps[len(steps)-1]
	for _, s := range steps {
		if d.end/s <= 12 {
			step = s
			break
		}
	}
	for at := time.Duration(0); at <= d.end; at += step {
		text := span(at)
		switch {
		case at == 0:
			text = "0"
		case step >= 24*time.Hour:
			text = fmt.Sprintf("%d d", at/(24*time.Hour))
		}
		d.put(`<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, d.x(at), d.x(at), top, bottom)
		anchor, x := "middle", d.x(at)
		if at > d.end-d.end/100 {
			anchor, x = "end", rightEdge+8
		}
		d.put(`<text class="tick" x="%.1f" y="%d" text-anchor="%s">%s</text>`, x, bottom+16, anchor, text)
	}
}

// timeline draws a line for each device.
func (d *drawing) timeline() template.HTML {
	const top = 20
	lane := d.lane
	bottom := top + lane*len(d.seats)
	d.axis(top, bottom)
	d.moving(bottom)
	for _, p := range d.w.net.from {
		d.partition(p, top)
	}
	d.still()
	for i, s := range d.seats {
		y := top + i*lane + lane/2
		class := "name"
		v := d.o.device(s.n.name)
		note := string(v.Status.State)
		if v.Hostile {
			class, note = "name hostile", "hostile"
		} else if !v.Live {
			class = "name gone"
		}
		if lane < 20 {
			class += " small"
		}
		d.put(`<text class="%s" x="%d" y="%d" text-anchor="end">%s<title>%s</title></text>`, class, leftEdge-12, y+min(4, lane/4), html.EscapeString(s.n.name), html.EscapeString(s.n.name+": "+note))
		d.put(`<line class="rail" x1="%d" x2="%d" y1="%d" y2="%d"/>`, leftEdge, rightEdge, y, y)
	}
	d.moving(bottom + 10)
	for i, s := range d.seats {
		y := top + i*lane + lane/2
		d.line(s, y)
		d.marks(s, y)
	}
	d.still()
	return d.timed(bottom+24, top, bottom, "timeline of each device")
}

// place is where a side is drawn. The devices that the partition does not name come last.
func (p *partition) place(n *cnode) int {
	if side := p.Side[n.index]; side > 0 {
		return side
	}
	return len(p.Side) + 1
}

// partition draws a band for each side, one rectangle for neighbours.
func (d *drawing) partition(p *partition, top int) {
	to := d.end
	if !p.To.IsZero() {
		to = d.since(p.To)
	}
	x, width := d.x(d.since(p.From)), d.x(to)-d.x(d.since(p.From))
	for i := 0; i < len(d.seats); {
		side, n := p.Side[d.seats[i].n.index], 1
		for i+n < len(d.seats) && p.Side[d.seats[i+n].n.index] == side {
			n++
		}
		d.put(`<rect class="side s%d" x="%.1f" y="%d" width="%.1f" height="%d"><title>partition, side %c</title></rect>`, side%6, x, top+i*d.lane, max(width, 1), n*d.lane, 'A'+rune(max(side-1, 0)))
		i += n
	}
	if width > 90 {
		d.put(`<text class="tick" x="%.1f" y="%d" text-anchor="middle">cut, %s</text>`, x+width/2, top-6, span((to - d.since(p.From)).Round(time.Second)))
	}
}

// line draws the epochs of a device while its process ran. Time that it spent offline is
// pale.
func (d *drawing) line(s *seat, y int) {
	bar := d.bar
	type stretch struct {
		from, to time.Duration
		at       wire.EpochID
		up, on   bool
		in       bool // it has not learned that it is out
	}
	var line []stretch
	at := stretch{up: true, on: true, in: true}
	cut := func(t time.Duration, change func(*stretch)) {
		if at.to = t; at.to > at.from {
			line = append(line, at)
		}
		at.from = t
		change(&at)
	}
	type change struct {
		at time.Time
		do func(*stretch)
	}
	var changes []change
	var out time.Time // for good
	if d.o.device(s.n.name).Status.State == group.StateOut {
		for _, m := range d.w.hist.marks {
			if m.Node == s.n && m.Kind == "out" {
				out = m.At
			}
		}
	}
	for _, m := range d.w.hist.moves {
		if m.Seat == s {
			back := out.IsZero() || m.At.Before(out)
			changes = append(changes, change{m.At, func(x *stretch) { x.at, x.in = m.To, back }})
		}
	}
	for _, m := range d.w.hist.marks {
		if m.Node != s.n {
			continue
		}
		switch m.Kind {
		case "crash":
			changes = append(changes, change{m.At, func(x *stretch) { x.up = false }})
		case "start":
			changes = append(changes, change{m.At, func(x *stretch) { x.up = true }})
		case "out":
			changes = append(changes, change{m.At, func(x *stretch) { x.in = false }})
		case "offline", "online":
			changes = append(changes, change{m.At, func(x *stretch) { x.on = m.Kind == "online" }})
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	for _, c := range changes {
		cut(d.since(c.at), c.do)
	}
	cut(d.end, func(*stretch) {})
	last := uint64(1 << 62)
	for _, x := range line {
		e := d.o.Dag.epochs[x.at]
		if !x.up || x.at == (wire.EpochID{}) {
			continue
		}
		class, number, branch := "bar", "?", 0
		if e != nil {
			number, branch = fmt.Sprint(e.number), d.branch[e]
		}
		if !x.on || !x.in {
			class = "bar off"
		}
		x0, x1 := d.x(x.from), d.x(x.to)
		d.put(`<rect class="%s b%d" x="%.1f" y="%d" width="%.1f" height="%d" rx="3"><title>%s in epoch %s, %s to %s</title></rect>`,
			class, branchColour(branch), x0, y-bar/2, max(x1-x0, 0.8), bar, html.EscapeString(s.n.name), number, span(x.from.Round(time.Second)), span(x.to.Round(time.Second)))
		if e != nil && e.number != last && bar > 10 {
			hidden := ""
			if x1-x0 > 22 {
				last = e.number
			} else {
				hidden = ` visibility="hidden"` // until the page zooms
			}
			d.put(`<text class="epoch" x="%.1f" y="%d" data-w="%.1f"%s>%s</text>`, x0+5, y+4, x1-x0, hidden, number)
		}
	}
}

// branchColour gives the chosen chain the first colour and the others their own.
func branchColour(branch int) int {
	if branch == 0 {
		return 0
	}
	return 1 + (branch-1)%7
}

func (d *drawing) marks(s *seat, y int) {
	lane, bar := d.lane, d.bar
	dot, below := 2.0, bar/2+4
	if lane < 20 {
		dot, below = 1.3, 0
	}
	for _, m := range d.w.hist.marks {
		if m.Node != s.n || m.At.Sub(epochZero) > d.end {
			continue
		}
		x := d.x(d.since(m.At))
		title := html.EscapeString(fmt.Sprintf("%s  %s  %s %s", span(d.since(m.At).Round(time.Millisecond)), s.n.name, m.Kind, clip(m.Text, 120)))
		switch m.Kind {
		case "send":
			d.put(`<circle class="send" cx="%.1f" cy="%d" r="%.1f"><title>%s</title></circle>`, x, y+below, dot, title)
		case "crash", "broken":
			d.put(`<path class="crash" d="M%.1f %dl8 8m0 -8l-8 8"><title>%s</title></path>`, x-4, y-4, title)
		case "remove", "leave":
			d.put(`<path class="remove" d="M%.1f %dl9 0l-4.5 7z"><title>%s</title></path>`, x-4.5, y-lane/2+1, title)
		case "join":
			d.put(`<path class="join" d="M%.1f %dl9 0l-4.5 -7z"><title>%s</title></path>`, x-4.5, y+lane/2-1, title)
		case "switch":
			d.put(`<path class="switch" d="M%.1f %dl4.5 4.5l-4.5 4.5l-4.5 -4.5z"><title>%s</title></path>`, x, y-5, title)
		case "hostile", "out", "clock":
			d.put(`<circle class="%s" cx="%.1f" cy="%d" r="4.5"><title>%s</title></circle>`, m.Kind, x, y, title)
		}
	}
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// tree draws the epochs, a row for each branch.
func (d *drawing) tree() template.HTML {
	if len(d.order) > 400 {
		d.put(`<text class="tick" x="20" y="30">%d epochs: too many to draw.</text>`, len(d.order))
		return d.svg(50, "too many epochs")
	}
	const top, rowHeight, letter = 26, 46, 5.8
	step := min(64, (rightEdge-leftEdge-60)/float64(max(len(d.order)-1, 1)))
	size := min(11, max(3, step*0.42))
	rows := map[int]int{0: 0}
	var busy []int // row → up to which place it is taken
	busy = append(busy, 1<<30)
	last := map[int]int{}
	for i, e := range d.order {
		last[d.branch[e]] = i
	}
	for i, e := range d.order {
		b := d.branch[e]
		if _, ok := rows[b]; ok {
			continue
		}
		row := slices.IndexFunc(busy, func(to int) bool { return to < i-2 })
		if row < 0 {
			row = len(busy)
			busy = append(busy, 0)
		}
		rows[b], busy[row] = row, last[b]
	}
	place := map[*dagEpoch][2]float64{}
	for i, e := range d.order {
		place[e] = [2]float64{leftEdge - 40 + float64(i)*step, float64(top + rows[d.branch[e]]*rowHeight)}
	}
	for _, e := range d.order {
		if e.parent == nil {
			continue
		}
		a, b := place[e.parent], place[e]
		bend := min(step, b[0]-a[0])
		d.put(`<path class="edge e%d" d="M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f"/>`, branchColour(d.branch[e]), a[0], a[1], a[0]+bend*.7, a[1], a[0]+bend*.3, b[1], a[0]+bend, b[1])
		if b[0] > a[0]+bend {
			d.put(`<path class="edge e%d" d="M%.1f %.1fL%.1f %.1f"/>`, branchColour(d.branch[e]), a[0]+bend, b[1], b[0], b[1])
		}
	}
	stood := d.stoodLast()
	written := map[int]float64{} // row → up to where something is written below it
	for _, e := range d.order {
		p := place[e]
		who := d.name(e.by.entry.Device)
		what := "the first root"
		if e.by.info != nil {
			what = fmt.Sprintf("by %s: %d added, %d removed", who, len(e.by.info.Adds), len(e.by.info.Removes))
		}
		at := time.UnixMilli(int64(millis(e.by.entry.HLC))).Sub(epochZero) //nolint:gosec // 48 bits
		d.put(`<circle class="node b%d" cx="%.1f" cy="%.1f" r="%.1f"><title>epoch %d, %s, at %s&#10;%v&#10;%s</title></circle>`,
			branchColour(d.branch[e]), p[0], p[1], size, e.number, html.EscapeString(what), span(at.Round(time.Second)), e.id, html.EscapeString(strings.Join(stood[e], " ")))
		if size >= 9 {
			d.put(`<text class="number" x="%.1f" y="%.1f" text-anchor="middle">%d</text>`, p[0], p[1]+3.5, e.number)
		}
		if names := stood[e]; len(names) > 0 {
			text := strings.Join(names, " ")
			if len(text) > 34 {
				text = fmt.Sprintf("%d devices", len(names))
			}
			left := p[0] - letter*float64(len(text))/2
			if row := rows[d.branch[e]]; left < written[row] {
				left = p[0] // it begins here instead, or is only in the circle's title
				if left < written[row] {
					continue
				}
			}
			anchor, x := "start", left
			if right := left + letter*float64(len(text)); right > rightEdge {
				anchor, x = "end", rightEdge
			}
			written[rows[d.branch[e]]] = left + letter*float64(len(text)) + letter
			d.put(`<text class="stood" x="%.1f" y="%.1f" text-anchor="%s">%s<title>%s</title></text>`, x, p[1]+size+13, anchor, html.EscapeString(text), html.EscapeString(strings.Join(names, " ")))
		}
	}
	return d.svg(top+len(busy)*rowHeight-8, "the tree of epochs")
}

// stoodLast returns the last epoch of a branch at which each device stood before it left
// the branch.
func (d *drawing) stoodLast() map[*dagEpoch][]string {
	out := map[*dagEpoch][]string{}
	for _, s := range d.seats {
		var at *dagEpoch
		leave := func(to *dagEpoch) {
			if at != nil && (to == nil || !to.under(at)) && !slices.Contains(out[at], s.n.name) {
				out[at] = append(out[at], s.n.name)
			}
			at = to
		}
		for _, m := range d.w.hist.moves {
			if m.Seat == s && d.since(m.At) <= d.end {
				if e := d.o.Dag.epochs[m.To]; e != nil {
					leave(e)
				}
			}
		}
		leave(nil)
	}
	return out
}

func (d *drawing) name(dev wire.DeviceID) string {
	for _, s := range d.seats {
		if s.n.dev.ID == dev {
			return s.n.name
		}
	}
	return "somebody"
}

// chart draws steps, with a fill; values rise from the bottom.
func (d *drawing) chart(class string, top, bottom int, most float64, points [][2]float64) {
	y := func(v float64) float64 { return float64(bottom) - v/most*float64(bottom-top) }
	var path strings.Builder
	fmt.Fprintf(&path, "M%d %.1f", leftEdge, y(0))
	if len(points) > 0 && points[0][0] <= leftEdge {
		path.Reset()
		fmt.Fprintf(&path, "M%d %.1f", leftEdge, y(points[0][1]))
	}
	for _, p := range points {
		fmt.Fprintf(&path, "H%.1fV%.1f", p[0], y(p[1]))
	}
	fmt.Fprintf(&path, "H%d", rightEdge)
	d.put(`<path class="wide %s-fill" d="%sV%dH%dZ"/>`, class, path.String(), bottom, leftEdge)
	d.put(`<path class="wide %s" d="%s"/>`, class, path.String())
}

func (d *drawing) scale(top, bottom int, most float64) {
	for _, part := range []float64{0, 0.5, 1} {
		y := float64(bottom) - part*float64(bottom-top)
		v := part * most
		if v != float64(int(v)) {
			continue
		}
		d.put(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, leftEdge, rightEdge, y, y)
		d.put(`<text class="tick" x="%d" y="%.1f" text-anchor="end">%d</text>`, leftEdge-12, y+4, int(v))
	}
}

// held draws how many copies of messages are owed, and how many are held.
func (d *drawing) held() template.HTML {
	const top, bottom = 10, 130
	steps := d.o.deliverySteps(d.group, d.w.hist.reads)
	slices.SortStableFunc(steps, func(a, b delivered) int { return a.at.Compare(b.at) })
	var o, h int
	var owedAt, heldAt [][2]float64
	for _, s := range steps {
		o, h = o+s.owed, h+s.held
		x := d.x(d.since(s.at))
		owedAt, heldAt = append(owedAt, [2]float64{x, float64(o)}), append(heldAt, [2]float64{x, float64(min(h, o))})
	}
	most := float64(max(o, 1))
	d.axis(top, bottom)
	d.scale(top, bottom, most)
	d.moving(bottom + 2)
	d.chart("owed", top, bottom, most, owedAt)
	d.chart("held", top, bottom, most, heldAt)
	d.still()
	return d.timed(bottom+24, top, bottom, "messages held over time")
}

// convergence draws in how many epochs the live members stood.
func (d *drawing) convergence() template.HTML {
	const top, bottom = 10, 90
	var points [][2]float64
	most := 1
	for _, s := range d.r.standing(d.group) {
		most = max(most, s.epochs)
		points = append(points, [2]float64{d.x(d.since(s.at)), float64(s.epochs)})
	}
	if most%2 == 1 && most > 1 {
		most++
	}
	d.axis(top, bottom)
	d.scale(top, bottom, float64(most))
	d.moving(bottom + 2)
	d.chart("conv", top, bottom, float64(most), points)
	d.still()
	return d.timed(bottom+24, top, bottom, "convergence")
}

// traffic draws the bytes of gossip and syncs a minute.
func (d *drawing) traffic() template.HTML {
	const top, bottom = 12, 112
	x := d.r.Series
	rate := func(sums []int) (points [][2]float64, most float64) {
		for k := range sums[1:] {
			v := float64(sums[k+1]-sums[k]) / (x.At[k+1] - x.At[k]) * 60
			if at := time.Duration(x.At[k] * float64(time.Second)); at < d.end {
				points, most = append(points, [2]float64{d.x(at), v}), max(most, v)
			}
		}
		return points, most
	}
	gossip, a := rate(x.Gossip)
	syncs, b := rate(x.Sync)
	most := max(a, b, 1)
	d.axis(top, bottom)
	for _, part := range []float64{0, 0.5, 1} {
		y := float64(bottom) - part*float64(bottom-top)
		d.put(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, leftEdge, rightEdge, y, y)
		d.put(`<text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`, leftEdge-12, y+4, size(part*most))
	}
	d.moving(bottom + 2)
	d.chart("sync", top, bottom, most, syncs)
	d.chart("gossip", top, bottom, most, gossip)
	d.still()
	return d.timed(bottom+24, top, bottom, "bytes of gossip and syncs over time")
}
