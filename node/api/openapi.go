package api

import (
	_ "embed" // of the description
	"net/http"
)

// description is this API in the words of OpenAPI 3.1. It is generated from the table of routes
// and their types by a test, which also says how; the routes of files themselves are described
// there, too.
//
//go:embed openapi.json
var description []byte

// pathDescription is where it is served; nothing else is outside the table of routes.
const pathDescription = "/v1/openapi.json"

func serveDescription(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(description) // the caller has hung up
}
