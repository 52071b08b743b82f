"""A back end with the CloudEvents SDK: `run_sender URL NAME`, the key in PHONEMETER_KEY, until it is killed.

It sends taps in one content mode after the other, each request until all its events are stored, and writes a
line with the ids of those that were.
"""

import itertools
import json
import os
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Final

from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from tests.producers.gateway.parts import BATCHED, tap

APPS: Final = 5
AGAIN_S: Final = 0.2
TIMEOUT_S: Final = 5


def event_of(identifier: str, app: str) -> CloudEvent:
    """A tap as an event of the SDK."""
    event = {**tap(identifier, app), "datacontenttype": "application/json"}
    event["time"] = datetime.fromisoformat(event["time"])
    return CloudEvent({name: value for name, value in event.items() if name != "data"}, event["data"])


def message_of(number: int, events: list[CloudEvent]) -> HTTPMessage:
    """A request with one event or with all, in turn."""
    if number % 3 == 0:
        return to_structured_event(events[0])
    if number % 3 == 1:
        return to_binary_event(events[0])
    members = [to_structured_event(event).body for event in events]
    return HTTPMessage(BATCHED, b"[" + b",".join(members) + b"]")


def send(url: str, message: HTTPMessage) -> None:
    """Send a request until it is answered that all is stored."""
    headers = {**message.headers, "authorization": f"Bearer {os.environ['PHONEMETER_KEY']}"}
    while True:
        request = urllib.request.Request(url, message.body, headers)  # noqa: S310 - our own gateway
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the same
                json.load(answer)
                return
        except urllib.error.HTTPError as refused:
            if refused.code != 503:
                raise
        except OSError:
            pass
        time.sleep(AGAIN_S)


def main(url: str, name: str) -> None:
    """Send until killed."""
    for number in itertools.count():
        ids = [f"{name}-{number}-{place}" for place in range(10 if number % 3 == 2 else 1)]
        send(url, message_of(number, [event_of(one, f"{name}-{number % APPS}") for one in ids]))
        sys.stdout.write(f"{' '.join(ids)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
