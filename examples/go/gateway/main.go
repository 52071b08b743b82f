// Publishes taps, one JSON object per line of standard input: `gateway URL structured|binary|batched`.
// To the HTTP gateway, with the CloudEvents SDK. The API key is in the environment variable PHONEMETER_KEY.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

const attemptsMax = 10

type tap struct {
	Appid string    `json:"appid"`
	Code  string    `json:"code"`
	Time  time.Time `json:"time"`
	data
}

type data struct {
	Capability string `json:"capability"`
	Scene      string `json:"scene"`
	Store      string `json:"store"`
}

// The idempotency key: a retry with the same code is the same call.
func idOf(appid, code string) string {
	sum := sha256.Sum256([]byte(appid + ":" + code))
	return hex.EncodeToString(sum[:])
}

func eventOf(t tap) (cloudevents.Event, error) {
	event := cloudevents.NewEvent()
	event.SetID(idOf(t.Appid, t.Code))
	event.SetSource("/examples/go")
	event.SetType("phone.authorization.succeeded")
	event.SetSubject(t.Appid)
	event.SetTime(t.Time)
	err := event.SetData(cloudevents.ApplicationJSON, t.data)
	return event, err
}

func events() ([]cloudevents.Event, error) {
	var found []cloudevents.Event
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var t tap
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return nil, err
		}
		// What a missing code becomes on its way.
		switch strings.TrimSpace(t.Code) {
		case "", "None", "null", "undefined":
			fmt.Fprintln(os.Stderr, "A tap without a code was left out: all such taps would be one call.")
			continue
		}
		event, err := eventOf(t)
		if err != nil {
			return nil, err
		}
		found = append(found, event)
	}
	return found, lines.Err()
}

// Sends a request until its events are stored. Sending them again is harmless: their ids are the same.
func send(request func() (*http.Request, error)) error {
	client := http.Client{Timeout: 30 * time.Second}
	for attempt := 1; ; attempt++ {
		made, err := request()
		if err != nil {
			return err
		}
		made.Header.Set("authorization", "Bearer "+os.Getenv("PHONEMETER_KEY"))
		answer, err := client.Do(made)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return err
		}
		switch answer.StatusCode {
		case http.StatusOK:
			return nil
		// Too many requests, or Kafka is away: nothing is wrong with the events.
		case http.StatusConflict, http.StatusTooManyRequests, http.StatusServiceUnavailable:
			if attempt < attemptsMax {
				seconds, _ := strconv.Atoi(answer.Header.Get("retry-after"))
				time.Sleep(time.Duration(max(1, seconds)) * time.Second)
				continue
			}
		}
		return fmt.Errorf("%s %s", answer.Status, text)
	}
}

func run(url, mode string) error {
	found, err := events()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if mode == "batched" {
		return send(func() (*http.Request, error) { return cehttp.NewHTTPRequestFromEvents(ctx, url, found) })
	}
	if mode == "structured" {
		ctx = binding.WithForceStructured(ctx)
	}
	for _, event := range found {
		err := send(func() (*http.Request, error) { return cehttp.NewHTTPRequestFromEvent(ctx, url, event) })
		if err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
