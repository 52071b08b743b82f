"""The notifier as a process, with settings from the environment; `argv[1:]` is where it kills itself.

For the alert of the second argument: `request` before it records the delivery request, `begin` before it
records the beginning of the attempt, `send` after that and before it sends, `sent` after it has sent and
before it records the outcome.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence

from sinks.notifier.channels import Deliver, Message
from sinks.notifier.kafka_log import DeliveriesPublisher
from sinks.notifier.planning import AttemptOutcome
from sinks.notifier.records import DeliveryOutput
from sinks.notifier.routes import Route
from sinks.notifier.service import run
from sinks.notifier.settings import NotifierSettings

AT, ALERT = sys.argv[1:] or ("", "")
MARKS = {"request": b'"type":"asked"', "begin": b'"state":"sending"'}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingPublisher(DeliveriesPublisher):
    def publish(self, records: Sequence[DeliveryOutput]) -> None:
        values = [record.value or b"" for record in records if ALERT.encode() in record.key]
        if AT in MARKS and any(MARKS[AT] in value for value in values):
            die()
        super().publish(records)


def dying(deliver: Deliver) -> Deliver:
    def deliver_or_die(route: Route, message: Message, now_ms: int) -> AttemptOutcome:
        concerned = any(alert.id == ALERT for alert in message.alerts)
        if AT == "send" and concerned:
            die()
        outcome = deliver(route, message, now_ms)
        if AT == "sent" and concerned:
            die()
        return outcome

    return deliver_or_die


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    run(NotifierSettings(), around=dying, publisher_of=DyingPublisher)
