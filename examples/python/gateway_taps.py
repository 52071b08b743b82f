"""Publishes taps, one JSON object per line of standard input: `gateway_taps.py URL MODE`.

To the HTTP gateway, with the CloudEvents SDK (cloudevents 2.2) and nothing else; the mode is
structured, binary or batched. The API key is in the environment variable PHONEMETER_KEY.
"""

import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus

from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

BATCHED = {"content-type": "application/cloudevents-batch+json"}
# What a missing code becomes on its way.
NO_CODES = {"", "None", "null", "undefined"}
# Too many requests, or Kafka is away: nothing is wrong with the events.
AGAIN = {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
ATTEMPTS_MAX = 10


def id_of(appid: str, code: str) -> str:
    """The idempotency key: a retry with the same code is the same call."""
    return hashlib.sha256(f"{appid}:{code}".encode()).hexdigest()


def event_of(tap: dict[str, str]) -> CloudEvent:
    """The event of a tap."""
    attributes = {
        "id": id_of(tap["appid"], tap["code"]),
        "source": "/examples/python",
        "type": "phone.authorization.succeeded",
        "subject": tap["appid"],
        "time": datetime.fromisoformat(tap["time"]),
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes, {name: tap[name] for name in ("capability", "scene", "store")})


def taps() -> Iterator[dict[str, str]]:
    """The taps of standard input that have a code."""
    for line in sys.stdin:
        tap = json.loads(line)
        if str(tap.get("code")).strip() in NO_CODES:
            print("A tap without a code was left out: all such taps would be one call.", file=sys.stderr)  # noqa: T201 - a program
        else:
            yield tap


def send(url: str, message: HTTPMessage) -> None:
    """Send a request until its events are stored. Sending them again is harmless: their ids are the same."""
    headers = {**message.headers, "authorization": f"Bearer {os.environ['PHONEMETER_KEY']}"}
    for attempt in range(1, ATTEMPTS_MAX + 1):
        request = urllib.request.Request(url, message.body, headers)  # noqa: S310 - the address is given
        try:
            with urllib.request.urlopen(request, timeout=30):  # noqa: S310 - the same
                return
        except urllib.error.HTTPError as answer:
            if answer.code not in AGAIN or attempt == ATTEMPTS_MAX:
                sys.exit(f"{answer.code} {answer.read().decode()}")
            time.sleep(float(answer.headers.get("retry-after", 1)))


def main(url: str, mode: str) -> None:
    """Publish each tap in a request of its own, or all of them in one."""
    events = map(event_of, taps())
    if mode == "batched":
        # The SDK has no batches: one is the JSON array of structured events.
        members = [to_structured_event(event).body for event in events]
        send(url, HTTPMessage(BATCHED, b"[" + b",".join(members) + b"]"))
        return
    for event in events:
        send(url, to_binary_event(event) if mode == "binary" else to_structured_event(event))


if __name__ == "__main__":
    main(*sys.argv[1:])
