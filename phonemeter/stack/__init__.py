"""The one-machine stack: Kafka, the ClickHouse engine, the worker and the sink as supervised processes."""
