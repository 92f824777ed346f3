package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// tracing makes spans of OpenTelemetry for joins, commits and catch-up, to find slow parts.
// It is off unless Config.TraceFile names a file. A span tells how long, how much and with
// what end, and the first or last letters of IDs, so that spans of two nodes can be laid
// side by side: nothing that was written, no name, no whole ID.
type tracing struct {
	trace.Tracer
	close func() error
}

// Names of spans.
const (
	spanJoin         = "join"          // from the first request until a member has welcomed this device
	spanJoinAsk      = "join.ask"      // within it, one member
	spanJoinServe    = "join.serve"    // a joiner that asked this node
	spanCommit       = "commit"        // a turn at the machine that made an epoch, until it is durable and sent
	spanEpoch        = "epoch"         // the same, of another device's commit
	spanCatchUp      = "catchup"       // an exchange that this node opened
	spanCatchUpServe = "catchup.serve" // one that it answered
)

// newTracing opens the file; "" turns tracing off.
func newTracing(file string) (*tracing, error) {
	if file == "" {
		return &tracing{noop.NewTracerProvider().Tracer(""), func() error { return nil }}, nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the file for traces: %w", err)
	}
	lines, err := stdouttrace.New(stdouttrace.WithWriter(f))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting to trace: %w", err), f.Close())
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(lines), // few enough to be written one by one
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "pandanode"))))
	return &tracing{p.Tracer("node"), func() error {
		return errors.Join(p.Shutdown(context.Background()), f.Close())
	}}, nil
}

// begin starts a span about a group and, if there is one, a peer.
func (t *tracing) begin(ctx context.Context, name string, g wire.GroupID, p peer.ID) (context.Context, trace.Span) {
	attrs := []attribute.KeyValue{attribute.String("group", api.Short(g.String()))}
	if p != "" {
		text := p.String()
		attrs = append(attrs, attribute.String("peer", text[max(0, len(text)-8):])) // they all begin alike
	}
	return t.Start(ctx, name, trace.WithAttributes(attrs...))
}

// finish ends a span with its outcome. The outcome is not the error's text, which may name
// somebody.
func finish(span trace.Span, err error, attrs ...attribute.KeyValue) {
	span.SetAttributes(attrs...)
	if err != nil {
		span.SetStatus(codes.Error, failureOf(err))
	}
	span.End()
}

func failureOf(err error) string {
	for _, kind := range []struct {
		err  error
		name string
	}{
		{context.DeadlineExceeded, "timeout"},
		{os.ErrDeadlineExceeded, "timeout"},
		{context.Canceled, "cancelled"},
		{errSyncRefused, "refused"},
		{errNotMember, "not-a-member"},
		{errProtocol, "protocol"},
		{errMisbehaved, "misbehaved"},
		{ErrNoGroup, "no-group"},
		{ErrStore, "store"},
	} {
		if errors.Is(err, kind.err) {
			return kind.name
		}
	}
	return "failed"
}

// moved returns the counts of an exchange as attributes of a span.
func (s syncStats) moved() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.Int("entries_in", s.entriesIn), attribute.Int("entries_out", s.entriesOut),
		attribute.Int("seals_in", s.sealsIn), attribute.Int("seals_out", s.sealsOut),
	}
}

// turned makes a span of a turn at the machine that began then, if it made or followed
// a commit.
func (g *groupSession) turned(began time.Time) {
	if g.epoch == nil {
		return
	}
	name := spanEpoch
	if g.epoch.Device == g.n.me.device.ID {
		name = spanCommit
	}
	g.epoch = nil
	_, span := g.n.tracing.Start(context.Background(), name, trace.WithTimestamp(began), trace.WithAttributes(attribute.String("group", api.Short(g.id.String()))))
	span.End()
}

// noteEpoch remembers that the turn which is being carried out has moved the device
// to another epoch.
func (g *groupSession) noteEpoch(e group.Event) {
	if e.Kind == group.EventEpoch {
		g.epoch = &e
	}
}
