package node

import (
	"context"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
)

// gauges tells how things are, looked up when somebody asks.
type gauges struct{ n *Node }

// How long a scrape waits for one group, and for all. A group that does not answer is
// counted as such: a scrape that hangs tells nothing of the others.
const (
	scrapeGroup = time.Second
	scrapeAll   = 5 * time.Second
)

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pandanode_"+name, help, labels, nil)
}

var (
	gaugeBuild   = gauge("build_info", "Always 1; the labels say what is running.", "version", "go")
	gaugeStart   = gauge("start_time_seconds", "When the node was opened, in seconds since 1970.")
	gaugePeers   = gauge("peers", "Connected peers, by what found them.", "source")
	gaugeDHT     = gauge("dht_peers", "Peers in the routing table of the DHT.")
	gaugeStore   = gauge("store_size_bytes", "Size of the store's files.", "part")
	gaugeFree    = gauge("store_free_bytes", "Free space on the store's disk.")
	gaugeReserve = gauge("store_reserve_bytes", "Free space below which the store takes no transaction.")
	gaugeMail    = gauge("mailboxes", "Mailboxes of groups, by how the last visit ended. full, closed, none, unreached and failed take nothing.", "state")
	gaugePosts   = gauge("mail_waiting_envelopes", "Envelopes that a mailbox of their group has not taken yet.")
	gaugeTwin    = gauge("twin", "1: another node was seen in the last 10 minutes that runs as this device.")
	gaugeHooks   = gauge("hooks", "Hooks of the configuration, by state. parked: nothing is tried until somebody resumes it.", "state")
	gaugeGroups  = gauge("groups", "Groups, by where this device stands in them. failed: its state cannot be read; busy: it did not answer in time.", "state")

	// Sums over all groups.
	gaugeMembers  = gauge("members", "Users in the rosters.")
	gaugeBranches = gauge("branches", "Ends of the trees of epochs: more than groups have seen concurrent commits.")
	gaugeEntries  = gauge("entries", "Log entries held.")
	gaugeOutbox   = gauge("outbox_messages", "Own messages that are not sealed on the chosen branch yet.")
	gaugeGaps     = gauge("gap_messages", "Messages owed to this device that it cannot read yet.")
	gaugeParked   = gauge("parked_entries", "Entries that wait for what they build on.")
	gaugeBehind   = gauge("groups_behind", "Groups in which this device is not at the epoch that the fork choice picks.")
	gaugeLimit    = gauge("group_limit_ratio", "How much the group that uses most of a bound uses of it; 1: all. path: bytes of a COMMIT's path; logs: of devices and restored homes.", "limit")

	// The same for each group, where the configuration has it.
	groupMembers  = gauge("group_members", "Users in the group's roster.", "group")
	groupEpoch    = gauge("group_epoch", "Number of the epoch that this device seals under.", "group")
	groupBranches = gauge("group_branches", "Ends of the group's tree of epochs.", "group")
	groupEntries  = gauge("group_entries", "Log entries of the group that are held.", "group")
	groupOutbox   = gauge("group_outbox_messages", "Own messages of the group that are not sealed on the chosen branch yet.", "group")
	groupGaps     = gauge("group_gap_messages", "Messages of the group owed to this device that it cannot read yet.", "group")
	groupParked   = gauge("group_parked_entries", "Entries of the group that wait for what they build on.", "group")
)

// Describe gives the gauges that every node has; those of each group come unannounced.
func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		gaugeBuild, gaugeStart, gaugePeers, gaugeDHT, gaugeStore, gaugeFree, gaugeReserve, gaugeMail, gaugePosts, gaugeTwin, gaugeHooks, gaugeGroups,
		gaugeMembers, gaugeBranches, gaugeEntries, gaugeOutbox, gaugeGaps, gaugeParked, gaugeBehind, gaugeLimit,
	} {
		ch <- d
	}
}

// Collect looks everything up.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	n := g.n
	put(gaugeBuild, 1, n.cfg.Version, runtime.Version())
	put(gaugeStart, float64(n.opened.UnixMilli())/1000)
	peers := map[api.Source]int{api.SourceDHT: 0, api.SourceMDNS: 0, api.SourceBootstrap: 0, api.SourceRemembered: 0, api.SourceIncoming: 0}
	for source, count := range n.directory.peers.Counts() {
		peers[apiSource(source)] += count.Connected
	}
	for source, connected := range peers {
		put(gaugePeers, float64(connected), string(source))
	}
	put(gaugeDHT, float64(n.directory.dht.Size()))
	if size, err := n.store.Size(); err == nil {
		put(gaugeStore, float64(size.Tables), "tables")
		put(gaugeStore, float64(size.ValueLog), "value-log")
		put(gaugeReserve, float64(size.Reserve))
		if size.FreeKnown {
			put(gaugeFree, float64(size.Free))
		}
	}
	mail, waiting := make(map[mailboxHealth]int), 0
	for _, h := range n.groups.all() {
		waiting += h.mail.healths(mail)
	}
	for _, h := range mailboxHealths {
		put(gaugeMail, float64(mail[h]), string(h))
	}
	put(gaugePosts, float64(waiting))
	twin := 0.0
	if n.twins.seen().now(time.Now()) {
		twin = 1
	}
	put(gaugeTwin, twin)
	hooks := map[api.HookState]int{api.HookWell: 0, api.HookFailing: 0, api.HookParked: 0}
	for _, h := range n.hookTable.list() {
		hooks[hookState(h.Report())]++
	}
	for state, count := range hooks {
		put(gaugeHooks, float64(count), string(state))
	}
	g.groups(put)
}

// groups looks at every group.
func (g gauges) groups(put func(*prometheus.Desc, float64, ...string)) {
	all, cancel := context.WithTimeout(context.Background(), scrapeAll)
	defer cancel()
	states := map[string]int{"joining": 0, "syncing": 0, "member": 0, "out": 0, "failed": 0, "busy": 0}
	var sum group.Status
	var branches, behind int
	used := map[group.LimitName]float64{group.LimitPath: 0, group.LimitLogs: 0}
	for _, h := range g.n.groups.all() {
		one, cancel := context.WithTimeout(all, scrapeGroup)
		var st group.Status
		var tips int
		var limits []group.Limit
		err := h.loop.look(one, func(m *group.Machine) error { st, tips, limits = m.Status(), m.Tips(), group.Limits(m); return nil })
		late := one.Err() != nil
		cancel()
		switch {
		case err != nil && late:
			states["busy"]++
			continue
		case err != nil:
			states["failed"]++
			continue
		}
		states[string(apiState(st.State))]++
		sum.Members += st.Members
		sum.Entries += st.Entries
		sum.Outbox += st.Outbox
		sum.Gaps += st.Gaps
		sum.Parked += st.Parked
		branches += tips
		for _, l := range limits {
			used[l.Name] = max(used[l.Name], l.Share())
		}
		if st.State == group.StateSyncing {
			behind++
		}
		if !g.n.cfg.GroupMetrics {
			continue
		}
		id := h.id.String()
		put(groupMembers, float64(st.Members), id)
		put(groupEpoch, float64(st.Epoch), id)
		put(groupBranches, float64(tips), id)
		put(groupEntries, float64(st.Entries), id)
		put(groupOutbox, float64(st.Outbox), id)
		put(groupGaps, float64(st.Gaps), id)
		put(groupParked, float64(st.Parked), id)
	}
	states["joining"] += g.n.groups.looking()
	for state, n := range states {
		put(gaugeGroups, float64(n), state)
	}
	put(gaugeMembers, float64(sum.Members))
	put(gaugeBranches, float64(branches))
	put(gaugeEntries, float64(sum.Entries))
	put(gaugeOutbox, float64(sum.Outbox))
	put(gaugeGaps, float64(sum.Gaps))
	put(gaugeParked, float64(sum.Parked))
	put(gaugeBehind, float64(behind))
	for name, share := range used {
		put(gaugeLimit, share, string(name))
	}
}
