"""The HTTP gateway: events of any back end, answered once Kafka has them."""
