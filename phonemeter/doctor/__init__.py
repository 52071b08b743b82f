"""`phonemeter doctor`: each step to Kafka and to ClickHouse tried in order, with what to ask others for."""
