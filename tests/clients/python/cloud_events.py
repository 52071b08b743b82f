"""Groups of events, encoded by the CloudEvents SDK of Python: `cloud_events.py ADDRESS FILE`."""

import json
import sys
from pathlib import Path

from cloudevents.v1.http import CloudEvent
from cloudevents.v1.kafka import to_binary, to_structured
from kafka import KafkaProducer

TIMEOUT_S = 30

if __name__ == "__main__":
    producer = KafkaProducer(bootstrap_servers=sys.argv[1])
    for line in Path(sys.argv[2]).read_text(encoding="utf-8").splitlines():
        group = json.loads(line)
        encode = to_binary if group["mode"] == "binary" else to_structured
        for record in group["records"]:
            attributes = {name: value for name, value in record["event"].items() if name != "data"}
            event = CloudEvent({**attributes, "partitionkey": attributes["subject"]}, record["event"]["data"])
            message = encode(event)
            key = message.key.encode() if isinstance(message.key, str) else message.key
            headers = [
                (name, value if isinstance(value, bytes) else str(value).encode())
                for name, value in message.headers.items()
            ]
            producer.send("phone-events", key=key, value=message.value, headers=headers).get(TIMEOUT_S)
    producer.close()
