"""A publisher of the outbox that stops for ever between publishing and noting, to be killed there."""

import asyncio
import sys
import time

from prometheus_client import CollectorRegistry

from phonemeter.business.database import BusinessDatabase
from phonemeter.business.outbox import Outbox
from phonemeter.business.outbox_publisher import OutboxPublisher
from producers.settings import ProducerSettings

FOR_EVER_S = 3_600


class StoppingOutbox(Outbox):
    """An outbox that does not note what was published."""

    def mark_published(self, place: int) -> None:  # noqa: ARG002 - that of the outbox
        sys.stdout.write("published\n")
        sys.stdout.flush()
        time.sleep(FOR_EVER_S)


if __name__ == "__main__":
    outbox = StoppingOutbox(BusinessDatabase(sys.argv[1]))
    publisher = OutboxPublisher(outbox, ProducerSettings(kafka=sys.argv[2]), CollectorRegistry())
    asyncio.run(publisher.run())
