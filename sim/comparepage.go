package sim

import (
	"fmt"
	"html"
	"html/template"
	"io"
	"math"
	"strings"
)

// WriteHTML writes the comparison as one self-contained page, in the style of a report's.
func (c *Comparison) WriteHTML(out io.Writer) error {
	type line struct{ Median, Range, Difference, Seeds, Verdict string }
	type row struct {
		Title string
		SVG   template.HTML
		Lines []line
	}
	type curve struct {
		Title, Law string
		SVG        template.HTML
	}
	var rows []row
	var curves []curve
	for _, m := range c.Differing() {
		x := row{Title: m.Title, SVG: m.strip()}
		for i, s := range m.Settings {
			l := line{Median: m.Text(s.Median), Range: m.Text(s.Min) + " – " + m.Text(s.Max)}
			if i > 0 {
				d := m.Differences[i-1]
				l.Difference, l.Seeds, l.Verdict = m.Text(d.Median), d.Seeds(), d.Verdict
				if d.Median > 0 {
					l.Difference = "+" + l.Difference
				}
			}
			x.Lines = append(x.Lines, l)
		}
		rows = append(rows, x)
		if c.Growth == nil {
			continue
		}
		if law, ok := c.Growth.Law(m.Key); ok {
			curves = append(curves, curve{m.Title, fmt.Sprintf("grows as n^%.2f", law.Exponent), m.curve(c.Growth.Devices, law)})
		}
	}
	var letters []string
	var colours []int
	for i := range c.Settings {
		letters, colours = append(letters, string(rune('A'+i))), append(colours, i%8)
	}
	failed, _ := c.Failed()
	return pages.ExecuteTemplate(out, "compare.html", map[string]any{
		"C": c, "Title": c.Title, "From": c.Seeds[0], "To": c.Seeds[len(c.Seeds)-1], "Worlds": len(c.Seeds) * len(c.Settings), "Failed": failed,
		"Rows": rows, "Growth": curves, "Letters": letters, "Colours": colours, "Same": strings.Join(c.Same(), ", "), "Luck": c.Luck(),
	})
}

// svg is a drawing with a label.
func svg(class string, width, height int, label, body string) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="%s" viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>`, class, width, height, html.EscapeString(label), body)) //nolint:gosec // what it draws are numbers
}

// strip draws the values of all seeds, a line for each setting.
func (m Measured) strip() template.HTML {
	const width, lane, edge = 340, 22, 8
	least, most := math.Inf(1), math.Inf(-1)
	for _, s := range m.Settings {
		least, most = min(least, s.Min), max(most, s.Max)
	}
	x := func(v float64) float64 { return edge + (v-least)/(most-least)*(width-2*edge) }
	y := func(i int) int { return lane/2 + i*lane }
	var b strings.Builder
	for i := range m.Settings {
		fmt.Fprintf(&b, `<line class="rail" x1="%d" x2="%d" y1="%d" y2="%d"/>`, edge, width-edge, y(i), y(i))
	}
	for i, s := range m.Settings[1:] {
		for seed, v := range s.Values {
			fmt.Fprintf(&b, `<line class="pair" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, x(m.Settings[i].Values[seed]), x(v), y(i), y(i+1))
		}
	}
	for i, s := range m.Settings {
		for _, v := range s.Values {
			fmt.Fprintf(&b, `<circle class="dot b%d" cx="%.1f" cy="%d" r="3.2"><title>%s</title></circle>`, i%8, x(v), y(i), html.EscapeString(m.Text(v)))
		}
		fmt.Fprintf(&b, `<line class="median e%d" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, i%8, x(s.Median), x(s.Median), y(i)-8, y(i)+8)
	}
	return svg("strip", width, lane*len(m.Settings), m.Title, b.String())
}

// curve draws the medians over the number of devices, both axes logarithmic.
func (m Measured) curve(devices []int, law GrowthLaw) template.HTML {
	const width, height, left, right, top, bottom = 340, 170, 64, 12, 10, 24
	least, most := math.Inf(1), 0.0
	for i, s := range m.Settings {
		fit := law.Factor * math.Pow(float64(devices[i]), law.Exponent)
		if s.Min > 0 {
			least = min(least, s.Min)
		}
		least, most = min(least, s.Median, fit), max(most, s.Max, fit)
	}
	from, to := float64(devices[0]), float64(devices[len(devices)-1])
	x := func(n float64) float64 {
		return left + math.Log(n/from)/math.Log(to/from)*(width-left-right)
	}
	y := func(v float64) float64 {
		return height - bottom - math.Log(max(v, least)/least)/math.Log(most/least)*(height-top-bottom)
	}
	var b strings.Builder
	for _, v := range []float64{least, math.Sqrt(least * most), most} {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`, left, width-right, y(v), y(v), left-8, y(v)+4, html.EscapeString(m.Text(round(v))))
	}
	fmt.Fprintf(&b, `<path class="fit" d="M%.1f %.1fL%.1f %.1f"/>`, x(from), y(law.Factor*math.Pow(from, law.Exponent)), x(to), y(law.Factor*math.Pow(to, law.Exponent)))
	for i, s := range m.Settings {
		n := float64(devices[i])
		op := "L"
		if i == 0 {
			op = `<path class="med" d="M`
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", op, x(n), y(s.Median))
	}
	b.WriteString(`"/>`)
	for i, s := range m.Settings {
		n := float64(devices[i])
		anchor := "middle"
		if i == len(devices)-1 {
			anchor = "end"
		}
		fmt.Fprintf(&b, `<line class="e0" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><circle class="b0" cx="%.1f" cy="%.1f" r="4"><title>%d devices: %s</title></circle><text class="tick" x="%.1f" y="%d" text-anchor="%s">%d</text>`,
			x(n), x(n), y(s.Min), y(s.Max), x(n), y(s.Median), devices[i], html.EscapeString(m.Text(s.Median)), x(n)+min(0, float64(i))*6, height-8, anchor, devices[i])
	}
	return svg("curve", width, height, m.Title+" by devices", b.String())
}

// round keeps three digits.
func round(v float64) float64 {
	if v == 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	return math.Round(v/unit) * unit
}
