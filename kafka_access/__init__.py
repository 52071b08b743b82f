"""Access to a Kafka cluster: the one place of its settings, and their translation for each client library."""
