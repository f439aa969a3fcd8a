// Command callall calls every method of a running usage-ledger service once and prints one line of
// JSON for each call: its method, its status code, and the response (for a stream, all of them).
//
//	go run ./cmd/callall 127.0.0.1:9001
//	go run ./cmd/callall --tls-ca ca.crt --token-file all.token ledger.example.org:9001
//
// It publishes two instances of payers that nobody else has, so it can be run against any service, as
// often as one likes. It ends with 1 if a call answered another code than a service without Stripe
// credentials should.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	codepb "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Long enough for a loaded machine; a service that answers at all takes milliseconds.
const timeout = 60 * time.Second

func main() {
	var credentials shown
	credentials.register(flag.CommandLine)
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: callall [options] HOST:PORT")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), credentials); err != nil {
		fmt.Fprintln(os.Stderr, "callall:", err)
		os.Exit(1)
	}
}

func run(address string, credentials shown) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	options, err := credentials.dialOptions()
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(address, options...)
	if err != nil {
		return err
	}
	defer connection.Close()

	c := &caller{ctx: ctx, out: json.NewEncoder(os.Stdout)}
	callAll(c, connection, newScenario(time.Now()))
	return errors.Join(c.unexpected...)
}

// caller makes calls and remembers the ones that answered something else than expected.
type caller struct {
	ctx        context.Context
	out        *json.Encoder
	unexpected []error
}

type line struct {
	Method   string          `json:"method"`
	Code     string          `json:"code"`
	Message  string          `json:"message,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`
}

// record prints one call. The code is spelled as gRPC's documentation does, the same in every language.
func (c *caller) record(method string, want codes.Code, response json.RawMessage, err error) {
	got := status.Convert(err)
	if got.Code() != want {
		c.unexpected = append(c.unexpected, fmt.Errorf("%s: want %v, got %v: %s", method, want, got.Code(), got.Message()))
	}
	entry := line{Method: method, Code: codepb.Code(got.Code()).String(), Message: got.Message(), Response: response}
	if err := c.out.Encode(entry); err != nil {
		c.unexpected = append(c.unexpected, err)
	}
}

// unary makes one call and answers its response, empty if the call failed.
func unary[Request, Response any](
	c *caller,
	method string,
	want codes.Code,
	rpc func(context.Context, *Request, ...grpc.CallOption) (*Response, error),
	request *Request,
) *Response {
	response, err := rpc(c.ctx, request)
	if err != nil {
		c.record(method, want, nil, err)
		return new(Response)
	}
	c.record(method, want, toJSON(any(response).(proto.Message)), nil)
	return response
}

// receiver is the reading half of any stream.
type receiver[Response any] interface {
	Recv() (*Response, error)
}

// drain reads a stream to its end, prints it as one call and answers what it carried.
func drain[Response any](c *caller, method string, stream receiver[Response], err error) []*Response {
	var responses []*Response
	texts := []json.RawMessage{}
	for err == nil {
		var response *Response
		if response, err = stream.Recv(); err == nil {
			responses = append(responses, response)
			texts = append(texts, toJSON(any(response).(proto.Message)))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	list, marshalErr := json.Marshal(texts)
	if err == nil {
		err = marshalErr
	}
	c.record(method, codes.OK, list, err)
	return responses
}

// bidirectional is a stream on which both sides send.
type bidirectional[Request, Response any] interface {
	receiver[Response]
	Send(*Request) error
	CloseSend() error
}

// exchange sends everything, then reads the answers: two small requests never fill the stream's window.
func exchange[Request, Response any](
	c *caller, method string, stream bidirectional[Request, Response], err error, requests ...*Request,
) []*Response {
	for _, request := range requests {
		if err == nil {
			err = stream.Send(request)
		}
	}
	if err == nil {
		err = stream.CloseSend()
	}
	// A failed Send only says EOF; Recv tells why.
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return drain(c, method, stream, err)
}

func toJSON(message proto.Message) json.RawMessage {
	text, err := protojson.Marshal(message)
	if err != nil {
		// Only invalid UTF-8 gets here, which gRPC has already refused to decode.
		panic(err)
	}
	return text
}
