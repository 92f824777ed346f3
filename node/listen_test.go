package node

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// TestPortInUse: two nodes do not share a TCP port unnoticed; what a node does not listen
// on it says, and where nothing is left it does not start.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	first, err := alone(t, "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0")
	if err != nil {
		t.Fatal(err)
	}
	var udp, tcp string
	for _, a := range first.host.Network().ListenAddresses() {
		switch {
		case strings.Contains(a.String(), "/tcp/"):
			tcp = a.String()
		case strings.Contains(a.String(), "/quic-v1"):
			udp = a.String()
		}
	}

	// One transport is left.
	second, err := alone(t, "/ip4/127.0.0.1/udp/0/quic-v1", tcp)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range second.host.Network().ListenAddresses() {
		if strings.Contains(a.String(), "/tcp/") {
			t.Errorf("two nodes share a port: %v", a)
		}
	}
	st, err := second.API().Status(t.Context(), api.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Unheard) != 1 || !strings.Contains(st.Unheard[0], tcp) || !strings.Contains(st.Unheard[0], "the port is in use by another") {
		t.Errorf("status: %q", st.Unheard)
	}
	if f := healths(checkup(t.Context(), second, false))["listen"]; f.Health != api.HealthWarn || !strings.Contains(f.Detail, tcp) || f.Hint == "" {
		t.Errorf("doctor: %+v", f)
	}
	if f := healths(checkup(t.Context(), first, false))["listen"]; f.Health != api.HealthOK {
		t.Errorf("doctor of the first: %+v", f)
	}

	// Nothing is left of IPv4, whatever there is of IPv6.
	for _, listen := range [][]string{{udp, tcp}, {udp, "/ip6/::1/udp/0/quic-v1"}, {tcp}} {
		_, err := alone(t, listen...)
		if !errors.Is(err, ErrListen) || !strings.Contains(fmt.Sprint(err), listen[0]) {
			t.Errorf("listening on %v alone: %v", listen, err)
			continue
		}
		if e := api.AsError(APIError(err)); e.Code != api.CodeConflict || e.Hint == "" {
			t.Errorf("listening on %v alone: %+v", listen, e)
		}
	}

	// A port that becomes free is listened on.
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	left := listenMore(t.Context(), second.host, second.ears.now(), func(unheard) {})
	second.ears.set(left)
	if f := healths(checkup(t.Context(), second, false))["listen"]; f.Health != api.HealthOK {
		t.Errorf("after the port became free: %+v", f)
	}
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+portOf(tcp)); err != nil {
		t.Errorf("after the port became free: %v", err)
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func portOf(addr string) string { return addr[strings.LastIndex(addr, "/")+1:] }
