"""The move of the log to topics with more partitions, while apps keep their order."""
