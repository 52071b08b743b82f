// Publishes taps, one JSON object per line of standard input: `taps ADDRESS structured|binary`.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type tap struct {
	Appid string `json:"appid"`
	Code  string `json:"code"`
	Time  string `json:"time"`
	data
}

type data struct {
	Capability string `json:"capability"`
	Scene      string `json:"scene"`
	Store      string `json:"store"`
}

type event struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
	Data            data   `json:"data"`
}

// The idempotency key: a retry with the same code is the same call.
func idOf(appid, code string) string {
	sum := sha256.Sum256([]byte(appid + ":" + code))
	return hex.EncodeToString(sum[:])
}

func recordOf(t tap, binary bool) (*kgo.Record, error) {
	e := event{
		"1.0", idOf(t.Appid, t.Code), "/examples/go", "phone.authorization.succeeded",
		t.Appid, t.Time, "application/json", t.data,
	}
	record := &kgo.Record{Topic: "phone-events", Key: []byte(t.Appid)}
	header := func(name, text string) {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
	}
	var err error
	if binary {
		header("ce_specversion", e.SpecVersion)
		header("ce_id", e.ID)
		header("ce_source", e.Source)
		header("ce_type", e.Type)
		header("ce_subject", e.Subject)
		header("ce_time", e.Time)
		header("content-type", e.DataContentType)
		record.Value, err = json.Marshal(e.Data)
	} else {
		header("content-type", "application/cloudevents+json")
		record.Value, err = json.Marshal(e)
	}
	return record, err
}

func run(address, mode string) error {
	// Its own partitioner is murmur2 of the key, as in Java; it waits for all replicas, and is idempotent.
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var t tap
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return err
		}
		// What a missing code becomes on its way.
		switch strings.TrimSpace(t.Code) {
		case "", "None", "null", "undefined":
			fmt.Fprintln(os.Stderr, "A tap without a code was left out: all such taps would be one call.")
			continue
		}
		record, err := recordOf(t, mode == "binary")
		if err != nil {
			return err
		}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
