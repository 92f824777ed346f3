package api

import "context"

func (e *echo) Read(_ context.Context, r ReadRequest) (ReadMark, error) {
	return answer[ReadRequest, ReadMark](e, r)
}
