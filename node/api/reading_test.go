package api

import "context"

func (e *echo) Read(_ context.Context, r ReadRequest) (ReadMark, error) {
	return answer[ReadRequest, ReadMark](e, r)
}

func (e *echo) Search(_ context.Context, r SearchRequest, emit func(Message) error) error {
	return stream2(e, r, emit)
}

func (e *echo) Local(_ context.Context, r GroupRequest) (Local, error) {
	return answer[GroupRequest, Local](e, r)
}

func (e *echo) SetLocal(_ context.Context, r LocalRequest) (Local, error) {
	return answer[LocalRequest, Local](e, r)
}

func (e *echo) Cursors(_ context.Context, r GroupRequest) (Cursors, error) {
	return answer[GroupRequest, Cursors](e, r)
}

func (e *echo) Acknowledge(_ context.Context, r AcknowledgeRequest) (DurableCursor, error) {
	return answer[AcknowledgeRequest, DurableCursor](e, r)
}

func (e *echo) RemoveCursor(_ context.Context, r CursorRequest) (DurableCursor, error) {
	return answer[CursorRequest, DurableCursor](e, r)
}

func (e *echo) Hooks(_ context.Context, r Empty) (Hooks, error) { return answer[Empty, Hooks](e, r) }

func (e *echo) TestHook(_ context.Context, r HookRequest) (HookRun, error) {
	return answer[HookRequest, HookRun](e, r)
}

func (e *echo) ResumeHook(_ context.Context, r HookRequest) (Hook, error) {
	return answer[HookRequest, Hook](e, r)
}

func (e *echo) SkipHook(_ context.Context, r HookRequest) (HookSkipped, error) {
	return answer[HookRequest, HookSkipped](e, r)
}
