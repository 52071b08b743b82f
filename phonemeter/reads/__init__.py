"""Needs of the reads over HTTP of other stages: ClickHouse, Kafka, and the explanation of an event."""
