package main

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
)

var kafkaGoCodecs = map[string]kafka.Compression{
	"gzip":   kafka.Gzip,
	"snappy": kafka.Snappy,
	"lz4":    kafka.Lz4,
	"zstd":   kafka.Zstd,
}

// Its own balancer takes the partitions in turn.
func sendKafkaGo(address string, g group) error {
	writer := &kafka.Writer{
		Addr:         kafka.TCP(address),
		Topic:        topic,
		BatchTimeout: 50 * time.Millisecond,
		BatchBytes:   bytesMax,
		RequiredAcks: kafka.RequireAll,
		Compression:  kafkaGoCodecs[g.Codec],
	}
	if g.Partitioner == "murmur2" {
		writer.Balancer = kafka.Murmur2Balancer{Consistent: false}
	}
	messages := make([]kafka.Message, 0, len(g.Records))
	for _, r := range g.Records {
		message := kafka.Message{Key: r.Key, Value: r.Value, Time: r.time()}
		for _, h := range r.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: h.Name, Value: h.Value})
		}
		messages = append(messages, message)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	defer writer.Close()
	return writer.WriteMessages(ctx, messages...)
}
