package main

import (
	"context"
	"encoding/json"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
)

// Its binding sends in binary mode if it is not told otherwise, and by sarama's partitioner.
func sendCloudEvents(address string, g group) error {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Partitioner = javas
	sender, err := kafka_sarama.NewSender([]string{address}, config, topic)
	if err != nil {
		return err
	}
	defer sender.Close(context.Background())
	for _, r := range g.Records {
		event, err := cloudEvent(r)
		if err != nil {
			return err
		}
		ctx := kafka_sarama.WithMessageKey(context.Background(), sarama.StringEncoder(event.Subject()))
		if g.Mode == "structured" {
			ctx = binding.WithForceStructured(ctx)
		}
		if err := sender.Send(ctx, binding.ToMessage(event)); err != nil {
			return err
		}
	}
	return nil
}

func cloudEvent(r record) (*cloudevents.Event, error) {
	text, err := json.Marshal(r.Event)
	if err != nil {
		return nil, err
	}
	event := cloudevents.NewEvent()
	if err := json.Unmarshal(text, &event); err != nil {
		return nil, err
	}
	return &event, nil
}
