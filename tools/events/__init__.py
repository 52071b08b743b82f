"""The descriptions of events for other languages: JSON Schema, AsyncAPI and the conformance lines."""
