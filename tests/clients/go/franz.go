package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var franzCodecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

// Its own partitioner is Java's.
func sendFranz(address string, g group) error {
	options := []kgo.Opt{
		kgo.SeedBrokers(address),
		kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(franzCodecs[g.Codec]),
		kgo.ProducerBatchMaxBytes(bytesMax),
	}
	if g.Transaction != "" {
		options = append(options, kgo.TransactionalID(fmt.Sprint("franz-", time.Now().UnixNano())))
	} else if !g.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if g.Transaction != "" {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
	}
	records := make([]*kgo.Record, 0, len(g.Records))
	for _, r := range g.Records {
		one := &kgo.Record{Key: r.Key, Value: r.Value, Timestamp: r.time()}
		for _, h := range r.Headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		records = append(records, one)
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	switch g.Transaction {
	case "commit":
		return client.EndTransaction(ctx, kgo.TryCommit)
	case "abort":
		return client.EndTransaction(ctx, kgo.TryAbort)
	}
	return nil
}
