package node

import (
	"context"
	"errors"
	"slices"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

func (s messageRoutes) Send(ctx context.Context, r api.SendRequest) (api.Sent, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Sent{}, err
	}
	until := 0
	if r.Wait != "" {
		if until = slices.Index(api.Deliveries, r.Wait); until < 0 {
			return api.Sent{}, api.Errorf(api.CodeInvalid, "there is no delivery %q", r.Wait)
		}
	}
	if r.Texts != nil && r.ReplyTo+r.Thread != "" {
		return api.Sent{}, api.Errorf(api.CodeInvalid, "several texts at once answer nothing and are in no thread")
	}
	if r.Texts != nil && len(r.Files) > 0 {
		return api.Sent{}, api.Errorf(api.CodeInvalid, "several texts at once go without files")
	}
	if r.Text != "" && r.Texts != nil {
		return api.Sent{}, api.Errorf(api.CodeInvalid, "give text or texts, one of the two")
	}
	once, messages, err := s.onceOf(ctx, id, r)
	if err != nil {
		return api.Sent{}, APIError(err)
	}
	again := messages != nil
	if !again {
		contents, err := s.allWritten(ctx, id, r)
		if err != nil {
			return api.Sent{}, err
		}
		if messages, again, err = s.n.sendAllOnce(ctx, id, contents, once); err != nil {
			return api.Sent{}, APIError(err)
		}
	}
	// From here on the messages are accepted, whatever else goes wrong.
	message := messages[len(messages)-1]
	sent := api.Sent{ID: message.String(), Group: id.String(), State: api.DeliveryQueued, Again: again}
	if r.Texts != nil {
		for _, m := range messages {
			sent.IDs = append(sent.IDs, m.String())
		}
	}
	g, err := s.n.groups.must(id)
	if err != nil {
		return sent, nil //nolint:nilerr // the group is gone since: what was accepted is told
	}
	if r.Texts == nil {
		if err := g.undraft(ctx, r.Text); err != nil {
			g.log.Warn("the draft of a message that was sent is kept", "err", err)
		}
	}
	return s.delivered(ctx, g, message, sent, until, r.Timeout), nil
}

// allWritten gives the texts of a request as they are sent.
func (s messageRoutes) allWritten(ctx context.Context, id wire.GroupID, r api.SendRequest) (out []wire.Content, err error) {
	texts := r.Texts
	if texts == nil {
		texts = []string{r.Text}
	}
	for _, t := range texts {
		c, err := s.written(ctx, id, r, t)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (s messageRoutes) Delivery(ctx context.Context, r api.DeliveryRequest) (api.Sent, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Sent{}, err
	}
	until := 0
	if r.Wait != "" {
		if until = slices.Index(api.Deliveries, r.Wait); until < 0 {
			return api.Sent{}, api.Errorf(api.CodeInvalid, "there is no delivery %q", r.Wait)
		}
	}
	message, err := s.resolveMessage(ctx, g.id, r.Message)
	if err != nil {
		return api.Sent{}, err
	}
	m, err := g.message(ctx, message)
	if err != nil {
		return api.Sent{}, APIError(err)
	}
	if !m.Own {
		return api.Sent{}, api.Errorf(api.CodeInvalid, "the message is of another device: only that one follows its delivery")
	}
	sent := api.Sent{ID: message.String(), Group: g.id.String(), State: api.DeliveryQueued}
	return s.delivered(ctx, g, message, sent, until, r.Timeout), nil
}

// delivered waits until a message is as far as that, or the time is over, and says how
// far it is.
func (s messageRoutes) delivered(ctx context.Context, g *groupSession, message wire.MessageID, sent api.Sent, until int, timeout api.Duration) api.Sent {
	wait, cancel := within(ctx, timeout)
	defer cancel()
	look := func(ctx context.Context) {
		if m, err := g.message(ctx, message); err == nil {
			sent.State, sent.HeldBy, sent.Readers = api.Delivery(m.Delivery), m.HeldBy, m.Readers
		}
	}
	for {
		changed := g.changed.wait()
		look(wait)
		if slices.Index(api.Deliveries, sent.State) >= until {
			return s.left(ctx, g, message, sent)
		}
		select {
		case <-changed:
		case <-wait.Done():
			look(ctx) // the present state, not that of the last event
			return s.left(ctx, g, message, sent)
		case <-s.n.life.done:
			return s.left(ctx, g, message, sent)
		}
	}
}

// left adds where a message is that nobody else has, as far as is known.
func (s messageRoutes) left(ctx context.Context, g *groupSession, message wire.MessageID, sent api.Sent) api.Sent {
	if sent.State != api.DeliveryHeld {
		sent.Note = g.mailNote(ctx)
	}
	if note := s.n.mailed.note(ctx, fileUse{g.id, message}); note != "" {
		if sent.Note != "" {
			note = sent.Note + "; " + note
		}
		sent.Note = note
	}
	return sent
}

func (s messageRoutes) Messages(ctx context.Context, r api.MessagesRequest) (api.Messages, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Messages{}, err
	}
	if r.Limit <= 0 || r.Limit > 1000 {
		r.Limit = 1000
	}
	if r.Before > 0 {
		return s.messagesBefore(ctx, id, r)
	}
	messages, err := s.n.Messages(ctx, id, r.Since, r.Limit+1)
	out := api.Messages{Messages: []api.Message{}, More: len(messages) > r.Limit}
	for _, m := range messages[:min(len(messages), r.Limit)] {
		out.Messages = append(out.Messages, s.n.apiMessage(ctx, id, m))
	}
	return out, APIError(err)
}

func (s messageRoutes) messagesBefore(ctx context.Context, id wire.GroupID, r api.MessagesRequest) (api.Messages, error) {
	if r.Since > 0 {
		return api.Messages{}, api.Errorf(api.CodeInvalid, "give since or before, one of the two")
	}
	out := api.Messages{Messages: []api.Message{}}
	messages, err := rowsAfter(ctx, s.n.groups, id, 0, func(m *group.Machine) (found []group.Message, err error) {
		found, out.More, err = s.n.groups.journal(m).MessagesBefore(r.Before, r.Limit)
		return found, err
	})
	for _, m := range messages {
		out.Messages = append(out.Messages, s.n.apiMessage(ctx, id, m))
	}
	return out, APIError(err)
}

func (s messageRoutes) Tail(ctx context.Context, r api.TailRequest, emit func(api.Message) error) error {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	return streamed(emit, func(emit func(api.Message) error) error {
		return s.n.Subscribe(ctx, id, r.Since, func(m group.Message) error { return emit(s.n.apiMessage(ctx, id, m)) })
	})
}

func (s messageRoutes) Envelope(ctx context.Context, r api.EnvelopeRequest) (api.EnvelopeResult, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.EnvelopeResult{}, err
	}
	out, refused := g.loop.step(ctx, group.Envelope{Bytes: r.Envelope})
	if ours := verdictOf(out, refused); refused != nil && (ours == verdict.Ignore && out.Verdict != verdict.Ignore || errors.Is(refused, ErrNoGroup)) {
		return api.EnvelopeResult{}, APIError(refused)
	}
	res := api.EnvelopeResult{Verdict: api.Verdict(out.Verdict.String()), New: out.New, Messages: []string{}}
	for _, m := range out.Messages {
		res.Messages = append(res.Messages, m.String())
	}
	if refused != nil {
		res.Refusal, res.Detail = refusal(refused), refused.Error()
	}
	return res, nil
}

func (s messageRoutes) MessageEnvelope(ctx context.Context, r api.MessageEnvelopeRequest) (api.Envelope, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Envelope{}, err
	}
	message, err := s.resolveMessage(ctx, g.id, r.Message)
	if err != nil {
		return api.Envelope{}, err
	}
	envelope, err := g.envelope(ctx, message)
	return api.Envelope{Message: message.String(), Envelope: envelope}, APIError(err)
}
