package sim

import (
	"math"
	"slices"
)

// Growth says how measures grow with the number of devices.
type Growth struct {
	Devices []int       `json:"devices"` // ascending, by setting
	Laws    []GrowthLaw `json:"laws"`    // of the measures that are above 0 at every size, but for times of the world
}

// GrowthLaw is the straight line through the medians of a measure where both axes are
// logarithmic, by least squares: the measure is about Factor × devices^Exponent.
type GrowthLaw struct {
	Key      string  `json:"key"`
	Exponent float64 `json:"exponent"`
	Factor   float64 `json:"factor"`
	Last     float64 `json:"last"` // the exponent between the two largest sizes alone
}

// Law is that of a measure.
func (g *Growth) Law(key string) (GrowthLaw, bool) {
	i := slices.IndexFunc(g.Laws, func(l GrowthLaw) bool { return l.Key == key })
	if i < 0 {
		return GrowthLaw{}, false
	}
	return g.Laws[i], true
}

// sizes says whether random worlds differ by their number of devices alone, from small to
// large.
func sizes(setups []Setup, settings []Compared) bool {
	rest := func(s Setup) Setting {
		return slices.DeleteFunc(slices.Clone(s.Set), func(p [2]string) bool { return p[0] == "nodes" })
	}
	for i, s := range setups {
		if s.File != nil || rest(s).String() != rest(setups[0]).String() || i > 0 && settings[i].Devices <= settings[i-1].Devices {
			return false
		}
	}
	return true
}

// grow finds the laws, if the settings are sizes.
func (c *Comparison) grow(setups []Setup) {
	if !sizes(setups, c.Settings) {
		return
	}
	c.Growth = &Growth{Laws: []GrowthLaw{}}
	var x []float64
	for _, s := range c.Settings {
		c.Growth.Devices = append(c.Growth.Devices, s.Devices)
		x = append(x, math.Log(float64(s.Devices)))
	}
	for _, m := range c.Measures {
		if m.Unit == unitSeconds && m.Key != "cpu" {
			continue
		}
		var y []float64
		for _, s := range m.Settings {
			if s.Median > 0 {
				y = append(y, math.Log(s.Median))
			}
		}
		if len(y) < len(x) {
			continue
		}
		slope, at0 := line(x, y)
		n := len(x)
		c.Growth.Laws = append(c.Growth.Laws, GrowthLaw{
			Key: m.Key, Exponent: slope, Factor: math.Exp(at0), Last: (y[n-1] - y[n-2]) / (x[n-1] - x[n-2]),
		})
	}
}

// line is the straight line of least squares through points: its slope, and its value at 0.
func line(x, y []float64) (slope, at0 float64) {
	var mx, my, xx, xy float64
	for i := range x {
		mx, my = mx+x[i]/float64(len(x)), my+y[i]/float64(len(x))
	}
	for i := range x {
		xx, xy = xx+(x[i]-mx)*(x[i]-mx), xy+(x[i]-mx)*(y[i]-my)
	}
	slope = xy / xx
	return slope, my - slope*mx
}
