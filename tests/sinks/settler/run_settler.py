"""The settler as a process, with settings from the environment; `argv[1]` is where it kills itself.

`read` is after an app was worked out and before its settlement is published, `published` right after that.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence

from phonemeter.recorded_rules import RecordedRules
from phonemeter.settings import load
from sinks.settler.publisher import SettlementsPublisher
from sinks.settler.service import run

AT = sys.argv[1] if len(sys.argv) > 1 else ""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingPublisher(SettlementsPublisher):
    def publish(self, appid: str, partition: int, events: Sequence[bytes]) -> None:
        if AT == "read":
            die()
        super().publish(appid, partition, events)
        if AT == "published":
            die()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    settings = load()
    run(settings, RecordedRules(settings), publisher_of=DyingPublisher)
