"""Tests of the access to Kafka."""
