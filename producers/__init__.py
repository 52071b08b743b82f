"""Publish authorization events and purchases to Kafka."""
