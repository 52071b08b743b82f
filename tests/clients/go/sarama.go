package main

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

var javas = sarama.NewCustomPartitioner(sarama.WithAbsFirst(), sarama.WithCustomHashFunction(newMurmur2))

// Its own partitioner is FNV-1a.
func sendSarama(address string, g group) error {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Compression = saramaCodecs[g.Codec]
	config.Producer.MaxMessageBytes = bytesMax
	if g.Partitioner == "murmur2" {
		config.Producer.Partitioner = javas
	}
	if g.Idempotent || g.Transaction != "" {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	if g.Transaction != "" {
		config.Producer.Transaction.ID = fmt.Sprint("sarama-", time.Now().UnixNano())
	}
	producer, err := sarama.NewSyncProducer([]string{address}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	if g.Transaction != "" {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
	}
	messages := make([]*sarama.ProducerMessage, 0, len(g.Records))
	for _, r := range g.Records {
		messages = append(messages, saramaMessage(r))
	}
	if err := producer.SendMessages(messages); err != nil {
		return err
	}
	switch g.Transaction {
	case "commit":
		return producer.CommitTxn()
	case "abort":
		return producer.AbortTxn()
	}
	return nil
}

func saramaMessage(r record) *sarama.ProducerMessage {
	message := &sarama.ProducerMessage{Topic: topic, Timestamp: r.time()}
	// A nil of these types is no key and no value; an encoder of nil bytes would be an empty one.
	if r.Key != nil {
		message.Key = sarama.ByteEncoder(r.Key)
	}
	if r.Value != nil {
		message.Value = sarama.ByteEncoder(r.Value)
	}
	for _, h := range r.Headers {
		message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.Name), Value: h.Value})
	}
	return message
}
