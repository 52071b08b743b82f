"""The stack's own Kafka: fetched from Maven, one process that is broker and controller, on loopback."""
