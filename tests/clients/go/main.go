// Groups of records or events, sent by a client of Go: `clients CLIENT ADDRESS FILE`.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const (
	topic    = "phone-events"
	bytesMax = 10_000_000
	timeout  = 30 * time.Second
)

// A record as the plan has it; encoding/json reads base64 into bytes, and null into nil.
type record struct {
	Key       []byte
	Value     []byte
	Headers   []header
	Timestamp *int64
	Event     map[string]any
}

type header struct {
	Name  string
	Value []byte
}

func (h *header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Name, &h.Value})
}

func (r record) time() time.Time {
	if r.Timestamp == nil {
		return time.Now()
	}
	return time.UnixMilli(*r.Timestamp)
}

type group struct {
	Name        string
	Codec       string
	Partitioner string
	Idempotent  bool
	Transaction string
	Mode        string
	Records     []record
}

var clients = map[string]func(address string, g group) error{
	"sarama":      sendSarama,
	"kafka-go":    sendKafkaGo,
	"franz-go":    sendFranz,
	"cloudevents": sendCloudEvents,
}

func main() {
	send, address := clients[os.Args[1]], os.Args[2]
	file, err := os.Open(os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16*bytesMax)
	for lines.Scan() {
		var g group
		err := json.Unmarshal(lines.Bytes(), &g)
		if err == nil {
			err = send(address, g)
		}
		if err != nil {
			// One group must not hide the next.
			fmt.Fprintf(os.Stderr, "%s: %v\n", g.Name, err)
		}
	}
}
