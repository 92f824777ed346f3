package dhtmodel

import "time"

// Report is what a run of a world came to.
type Report struct {
	Devices int `json:"devices"` // that there are; Config.Nodes of them are online on average
	Servers int `json:"servers"` // online at the end

	Walks     int     `json:"walks"`
	Requests  int     `json:"requests"` // beside those of refreshes
	Failed    float64 `json:"failed"`   // share of the requests of walks that went to peers that were gone
	Announced int     `json:"announced"`
	Held      int     `json:"held"` // announcements held back because others were there
	Displaced int     `json:"displaced"`

	RequestsOfWalk   float64 `json:"requests_of_walk"`
	BytesOfNode      float64 `json:"bytes_of_node"`      // an hour online, in and out, of publishing
	BytesOfRefreshes float64 `json:"bytes_of_refreshes"` // the same, of routing tables

	Records Load `json:"records"` // provider records at one server, at the end
	Asked   Load `json:"asked"`   // requests an hour at one server, in the last half, beside refreshes
	Sent    Load `json:"sent"`    // bytes an hour that one server answers with
	HotKey  int  `json:"hot_key"` // most records of one key at one server

	Lost   float64 `json:"lost"`   // of groups published and with a member online: no server has the record; mean over hours
	Finds  []Found `json:"finds"`  // of the last half
	Series []Hour  `json:"series"` // of the whole run

	bytes, walkBytes       float64
	failed, walked, played int
}

// Load is how much servers have to carry.
type Load struct {
	Mean float64 `json:"mean"`
	P99  float64 `json:"p99"`
	Most float64 `json:"most"`
}

// Hour is a moment of a run.
type Hour struct {
	Hour   int     `json:"hour"`
	Online int     `json:"online"`
	Lost   float64 `json:"lost"`
	Most   int     `json:"most"` // provider records at the fullest server
}

// Run plays a world.
func Run(cfg Config) Report {
	w := newWorld(cfg)
	finds := map[string]*tally{}
	kinds := []string{FindID, FindName, FindWord, FindPublic, FindMailbox}
	for _, k := range kinds {
		finds[k] = &tally{}
	}
	end := time.Duration(cfg.Hours) * time.Hour
	half, next := end/2, time.Hour
	pause := half / time.Duration(max(1, cfg.Finds))
	find := half + pause
	counting, online, hours := false, 0.0, 0
	lost := 0.0
	for len(w.events) > 0 && w.events[0].at <= end {
		for next <= w.events[0].at || find <= w.events[0].at {
			if next < find {
				w.now = next
				h := w.look(int(next / time.Hour))
				w.report.Series = append(w.report.Series, h)
				online += float64(h.Online)
				lost += h.Lost
				hours++
				next += time.Hour
				continue
			}
			w.now = find
			if cfg.Finds > 0 {
				w.searches(finds)
			}
			find += pause
		}
		e := w.events.pop()
		w.now = e.at
		if !counting && e.at >= half {
			counting = true
			for n := range w.devices {
				w.devices[n].asked, w.devices[n].sent = 0, 0
			}
		}
		switch d := &w.devices[e.dev]; {
		case e.kind == eventArrive:
			w.arrive(e.dev, time.Duration(w.rng.unit()*float64(time.Minute)))
		case !d.online || d.session != e.session: // of a session that ended
		case e.kind == eventLeave:
			w.leave(e.dev)
		case e.kind == eventRefresh:
			w.renew(e.dev)
		case e.kind == eventPublish:
			w.publish(e.dev, e.what)
		case e.kind == eventMailbox:
			w.offer(e.dev)
		}
	}
	r := &w.report
	r.Devices = len(w.devices)
	r.RequestsOfWalk = float64(r.walked) / float64(max(1, r.played))
	r.Failed = float64(r.failed) / float64(max(1, r.Walks)) / max(1, r.RequestsOfWalk)
	r.BytesOfNode = r.bytes / max(1, online)
	r.BytesOfRefreshes = float64(w.refresh) * r.walkBytes / float64(max(1, r.played)) / max(1, online)
	r.Lost = lost / float64(max(1, hours))
	for _, k := range kinds {
		r.Finds = append(r.Finds, finds[k].report(k))
	}
	w.loads(half.Hours())
	return *r
}

// look counts what is to be seen of a moment.
func (w *world) look(hour int) Hour {
	h := Hour{Hour: hour}
	for n := range w.devices {
		if d := &w.devices[n]; d.online {
			h.Online++
			if d.store != nil {
				h.Most = max(h.Most, len(d.store.all))
			}
		}
	}
	there, lost := 0, 0
	for g := range w.groups {
		if w.groups[g].ever && w.present(int32(g)) { //nolint:gosec // groups are numbered so
			there++
			if w.groups[g].holders == 0 {
				lost++
			}
		}
	}
	h.Lost = float64(lost) / float64(max(1, there))
	return h
}

func (w *world) loads(hours float64) {
	var records, asked, sent []float64
	hot := 0
	for n := range w.devices {
		d := &w.devices[n]
		if !d.online || d.store == nil || d.hostile {
			continue
		}
		records = append(records, float64(len(d.store.all)))
		asked = append(asked, float64(d.asked)/hours)
		sent = append(sent, float64(d.sent)/hours)
		for _, l := range d.store.keys {
			hot = max(hot, len(l.at))
		}
	}
	w.report.Servers, w.report.HotKey = len(records), hot
	w.report.Records, w.report.Asked, w.report.Sent = loadOf(records), loadOf(asked), loadOf(sent)
}

func loadOf(all []float64) Load {
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	p99, most := spreadOf(all)
	return Load{Mean: sum / float64(max(1, len(all))), P99: p99, Most: most}
}
