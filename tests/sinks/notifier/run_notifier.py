"""The notifier as a process, with its settings from the environment; `argv[1:]` says where it kills itself.

For the alert of the second argument: `asked` before it records where it is to go, `begun` before it records
the beginning of its attempt, `send` when that is recorded and before it sends, `sent` when it has sent and
before it records that.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence

from sinks.notifier.channels import Deliver, Message
from sinks.notifier.kafka_log import Outgoing, Publisher
from sinks.notifier.planning import Outcome
from sinks.notifier.routes import Route
from sinks.notifier.service import run
from sinks.notifier.settings import NotifierSettings

AT, ALERT = sys.argv[1:] or ("", "")
MARKS = {"asked": b'"type":"asked"', "begun": b'"state":"sending"'}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingPublisher(Publisher):
    def publish(self, records: Sequence[Outgoing]) -> None:
        values = [record.value or b"" for record in records if ALERT.encode() in record.key]
        if AT in MARKS and any(MARKS[AT] in value for value in values):
            die()
        super().publish(records)


def dying(deliver: Deliver) -> Deliver:
    def delivered(route: Route, message: Message, now_ms: int) -> Outcome:
        concerned = any(alert.id == ALERT for alert in message.alerts)
        if AT == "send" and concerned:
            die()
        outcome = deliver(route, message, now_ms)
        if AT == "sent" and concerned:
            die()
        return outcome

    return delivered


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    run(NotifierSettings(), around=dying, publisher_of=DyingPublisher)
