"""The service for WeChat as a process, with settings from the environment and an empty ledger.

`argv[1]` is where it kills itself: `stored` after Kafka has confirmed what a push tells, and before the push
is answered; nowhere without it.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence

from producers.events import CloudEvent
from producers.wechat.facts import PUSH_SOURCE
from producers.wechat.publisher import Publish
from producers.wechat.service import run
from producers.wechat.settings import WechatSettings

AT = next(iter(sys.argv[1:]), "")


def dying(publish: Publish) -> Publish:
    async def publish_or_die(events: Sequence[CloudEvent]) -> None:
        await publish(events)
        if AT == "stored" and any(event["source"] == PUSH_SOURCE for event in events):
            os.kill(os.getpid(), signal.SIGKILL)

    return publish_or_die


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    run(WechatSettings(), lambda _appid: [], lambda: "cluster", around=dying)
