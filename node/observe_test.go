package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
)

// scrape gives every series of a node by its name with labels; of a histogram the
// number of what it saw.
func scrape(t *testing.T, n *Node) map[string]float64 {
	t.Helper()
	families, err := prometheus.Gatherers{n.metrics.counted, n.metrics.all}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("what Prometheus says of the names: %v, %v", problems, err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf("{%s=%s}", l.GetName(), l.GetValue())
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// TestMetricsTell has two nodes talk, catch up and refuse something, and looks at what
// they count. No series comes or goes with what others do.
func TestMetricsTell(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		before := scrape(t, a)
		if len(before) < 120 {
			t.Fatalf("%d series", len(before))
		}
		id := w.create(a, "watched")
		w.join(b, id)
		w.send(a, id, "hello")
		w.send(b, id, "hello yourself")
		w.shows(a, id, time.Minute, "hello", "hello yourself")
		w.shows(b, id, time.Minute, "hello", "hello yourself")
		if _, err := b.groups.get(id).loop.step(w.Context(), group.Envelope{Bytes: []byte("rubbish")}); err == nil {
			t.Fatal("rubbish was taken")
		}
		hosted := b.groups.get(id)
		x := &exchange{g: hosted}
		if _, err := x.take(w.Context(), group.Entries{Entries: [][]byte{{0xff}}}); err == nil {
			t.Fatal("rubbish was taken from a stream")
		}
		if _, err := a.directory.lookup(w.within(time.Minute), id); err != nil {
			t.Fatal(err)
		}
		for n, want := range map[*Node]map[string]float64{
			a: {
				"pandanode_groups{state=member}": 1, "pandanode_members": 2, "pandanode_branches": 1, "pandanode_outbox_messages": 0,
				"pandanode_gap_messages": 0, "pandanode_parked_entries": 0, "pandanode_groups_behind": 0, "pandanode_messages_sent_total": 1,
				"pandanode_messages_received_total": 1, "pandanode_group_events_total{kind=message}": 2, "pandanode_group_events_total{kind=member-added}": 1,
				"pandanode_heals_total": 1, "pandanode_join_requests_total": 1, "pandanode_store_write_errors_total": 0, "pandanode_dht_peers": 1,
				"pandanode_build_info{go=" + runtimeVersion() + "}{version=}": 1, "pandanode_peers{source=incoming}": 1,
				"pandanode_dht_query_duration_seconds{query=lookup}{result=ok}": 1,
			},
			b: {
				"pandanode_groups{state=member}": 1, "pandanode_members": 2, "pandanode_messages_sent_total": 1, "pandanode_messages_received_total": 1,
				"pandanode_heals_total": 0, "pandanode_group_events_total{kind=joined}": 1, "pandanode_peers{source=bootstrap}": 1,
				"pandanode_refusals_total{reason=malformed}{source=sync}": 1, "pandanode_refusals_total{reason=malformed}{source=gossip}": 0,
			},
		} {
			got := scrape(t, n)
			for name, v := range want {
				if is, ok := got[name]; !ok || is != v {
					t.Errorf("node %s: %s is %v (%v), want %v", n.me.device.Cert.Name, name, is, ok, v)
				}
			}
			for _, name := range []string{
				"pandanode_entries", "pandanode_catchup_bytes_total{direction=in}", "pandanode_catchup_bytes_total{direction=out}", "pandanode_catchups_total{result=ok}",
				"pandanode_envelopes_total{verdict=accept}", "pandanode_envelopes_published_total", "pandanode_start_time_seconds",
				"pandanode_store_reserve_bytes", "pandanode_store_free_bytes", "pandanode_group_limit_ratio{limit=path}", "pandanode_group_limit_ratio{limit=logs}",
			} {
				if got[name] <= 0 {
					t.Errorf("node %s: %s is %v", n.me.device.Cert.Name, name, got[name])
				}
			}
			if name := "pandanode_catchup_entries_total"; got[name+"{direction=in}"]+got[name+"{direction=out}"] == 0 {
				t.Errorf("node %s: no entries by exchanges", n.me.device.Cert.Name)
			}
		}
		after := scrape(t, a)
		if old, now := slices.Sorted(keys(before)), slices.Sorted(keys(after)); !slices.Equal(old, now) {
			t.Errorf("series have come or gone:\n%v\n%v", old, now)
		}
		a.cfg.GroupMetrics = true
		if got := scrape(t, a); len(got) != len(after)+7 || got["pandanode_group_members{group="+id.String()+"}"] != 2 || got["pandanode_group_epoch{group="+id.String()+"}"] != 1 {
			t.Errorf("metrics of each group: %d series beside %d", len(got)-len(after), len(after))
		}
	})
}

func runtimeVersion() string {
	v, _ := deviceRoutes{routes: routes{&Node{}}}.Version(context.Background(), api.Empty{})
	return v.Go
}

// A kind or reason that is not listed would have no series before it first happens.
func TestKindsAreListed(t *testing.T) {
	for file, want := range map[string]struct {
		pattern string
		listed  int
	}{
		"group/ready.go":  {`(?m)^\tEvent\w+ +EventKind = `, len(group.EventKinds)},
		"api/messages.go": {`(?m)^\tRefusal\w+ +Refusal = `, len(api.Refusals)},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(regexp.MustCompile(want.pattern).FindAll(text, -1)); n != want.listed || n < 17 {
			t.Errorf("%s: %d are declared, %d listed", file, n, want.listed)
		}
	}
}

// TestObservation asks over real sockets: the API's has all of it, the TCP address
// metrics and health alone, and a node that closes is neither alive nor ready.
func TestObservation(t *testing.T) {
	n, c := onLoopback(t, func(c *Config) { c.Metrics = "127.0.0.1:0" })
	st, err := c.Status(t.Context(), api.StatusRequest{})
	if err != nil || !strings.HasPrefix(st.Metrics, "http://127.0.0.1:") {
		t.Fatalf("status says metrics are at %q, %v", st.Metrics, err)
	}
	tcp := strings.TrimSuffix(st.Metrics, "/metrics")
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.cfg.Socket)
	}}}
	get := func(c *http.Client, url string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	if _, err := c.CreateGroup(t.Context(), api.CreateGroupRequest{Name: "seen by nobody", Policy: api.PolicyOpen}); err != nil {
		t.Fatal(err)
	}
	groups, err := c.Groups(t.Context(), api.Empty{})
	if err != nil || len(groups.Groups) != 1 {
		t.Fatal(groups, err)
	}
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	public := httptest.NewServer(byItsName(&net.TCPAddr{IP: net.IPv4zero}, []string{"node.example"}, observation(n)))
	t.Cleanup(public.Close)
	const ok, not = http.StatusOK, http.StatusMisdirectedRequest
	for host, want := range map[string]struct{ loopback, public int }{
		"127.0.0.1": {ok, ok}, "localhost:9464": {ok, ok}, "[::1]:9464": {ok, ok}, "[fe80::1%25eth0]:9464": {not, ok},
		"192.0.2.7": {not, ok}, "192.0.2.7:9464": {not, ok}, "[2001:db8::7]:9464": {not, ok}, "Node.Example.:9464": {not, ok}, "node.example": {not, ok},
		"page.example": {not, not}, "page.example:9464": {not, not}, "127.0.0.1.page.example": {not, not}, "node.example.page.example": {not, not},
	} {
		for at, want := range map[string]int{tcp + "/metrics": want.loopback, tcp + "/healthz": want.loopback, public.URL + "/metrics": want.public, public.URL + "/healthz": want.public} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			answer, err := plain.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != want {
				t.Errorf("%s under the name %s: %d, want %d", at, host, answer.StatusCode, want)
			}
		}
	}
	for _, at := range []struct {
		client *http.Client
		url    string
	}{{plain, tcp}, {socket, "http://node"}} {
		code, text := get(at.client, at.url+"/metrics")
		for _, want := range []string{"\npandanode_groups{state=\"member\"} 1\n", "\ngo_goroutines ", "\nprocess_open_fds "} {
			if code != http.StatusOK || !strings.Contains(text, want) {
				t.Errorf("%s/metrics: %d, without %q", at.url, code, want)
			}
		}
		for _, secret := range []string{groups.Groups[0].ID, "seen by nobody", n.me.device.User.String()} {
			if strings.Contains(text, secret) {
				t.Errorf("%s/metrics tells %q", at.url, secret)
			}
		}
		for path, want := range map[string]int{
			"/healthz": 200, "/readyz": 200, "/readyz?level=ready": 200, "/readyz?level=online": 503, "/readyz?level=high": 400,
		} {
			if code, text := get(at.client, at.url+path); code != want || code == 503 && text != "no peer is connected\n" {
				t.Errorf("%s%s: %d %q, want %d", at.url, path, code, text, want)
			}
		}
	}
	if code, _ := get(socket, "http://node/v1/status"); code != http.StatusOK {
		t.Errorf("the API over its socket: %d", code)
	}
	for _, path := range []string{"/v1/status", "/v1/groups", "/debug/pprof/", "/"} {
		if code, _ := get(plain, tcp+path); code != http.StatusNotFound {
			t.Errorf("%s over TCP: %d", path, code)
		}
	}
	n.groups.all()[0].life.end()
	socket.CloseIdleConnections()
	if got := ill(t.Context(), n); !strings.Contains(got, "a group's state cannot be had") {
		t.Errorf("a group's goroutine is gone, and the node says %q", got)
	}
}
