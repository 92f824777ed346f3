// Package mlsclient is the gRPC interface of the MLS working group's
// interoperability harness: generated code, and nothing by hand.
package mlsclient

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative mls_client.proto
