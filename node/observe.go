package node

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
)

// healthTimeout is how long a node may take to tell of itself before it counts as hung.
const healthTimeout = 5 * time.Second

// observation serves the endpoints of monitoring: /metrics for Prometheus, and /healthz and
// /readyz for supervisors that restart nodes. It tells nothing that can be used against the
// node, and takes nothing.
func observation(n *Node) *http.ServeMux {
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(
		prometheus.Gatherers{n.metrics.counted, n.metrics.all, process}, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError},
	))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { answer503(w, ill(r.Context(), n)) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		level := api.LevelReady
		if text := r.URL.Query().Get("level"); text != "" {
			if level = api.Level(text); !slices.Contains(api.Levels, level) {
				http.Error(w, "there are the levels ready, online and synced", http.StatusBadRequest)
				return
			}
		}
		missing := ill(r.Context(), n)
		if missing == "" {
			var err error
			if missing, err = n.lacks(r.Context(), level, func(g *groupSession) string { return g.id.String() }); err != nil {
				missing = api.Words(err.Error())
			} else if missing != "" && level == api.LevelSynced && !n.cfg.GroupMetrics {
				missing = "not every group is caught up: pandanode status says which" // without its ID
			}
		}
		answer503(w, missing)
	})
	return mux
}

// answer503 says ok, or what is wrong.
func answer503(w http.ResponseWriter, wrong string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if wrong != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, wrong) // the caller has hung up
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// ill says what is wrong with the node itself, so that starting it anew may help;
// empty: nothing. Its groups' goroutines answer, and the store holds their state.
func ill(ctx context.Context, n *Node) string {
	select {
	case <-n.life.done:
		return "the node is closing"
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if _, err := n.store.Size(); err != nil {
		return fmt.Sprintf("the store: %v", err)
	}
	for _, g := range n.groups.all() {
		if err := g.loop.look(ctx, func(*group.Machine) error { return nil }); err != nil {
			return fmt.Sprintf("a group's state cannot be had: %v", err)
		}
	}
	return ""
}

// byItsName refuses requests under a name that is neither localhost nor given: a page in a
// browser that reaches the address could give its own name that address, and read the
// answers. No page can do so with an address itself. On loopback only addresses of it are
// taken.
func byItsName(at net.Addr, names []string, h http.Handler) http.Handler {
	tcp, ok := at.(*net.TCPAddr)
	loopback := ok && tcp.IP.IsLoopback()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimSuffix((&url.URL{Host: r.Host}).Hostname(), ".")
		ip := net.ParseIP(strings.Split(name, "%")[0])
		known := strings.EqualFold(name, "localhost") || ip != nil && (ip.IsLoopback() || !loopback) ||
			slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
		if !known {
			http.Error(w, fmt.Sprintf("this address does not serve the name %q: ask by the IP address, or put the name into metrics.names of the configuration", name), http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}
