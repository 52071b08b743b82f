"""`phonemeter topics`: the topics on a Kafka that the stack does not run itself."""

from typing import Annotated

import typer
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from phonemeter.errors import OperationError
from phonemeter.settings import load
from phonemeter.stack.kafka.topics import ensure_topics
from phonemeter.terminal import say


def topics(
    *,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Correct the settings of existing topics."),
    ] = False,
) -> None:
    """Create the missing topics on the Kafka of the settings and check the existing ones.

    Waits for a Kafka that does not answer yet, at most ready_timeout_s. Topics whose settings would make the
    ledger wrong are refused, or corrected with --fix; settings that could be safer are reported. Every
    service checks the same when it starts, and once a minute. phonemeter up does all this by itself.
    """
    settings = load()
    for attempt in Retrying(
        stop=stop_after_delay(settings.ready_timeout_s),
        wait=wait_fixed(1),
        retry=retry_if_exception_type(OperationError),
        reraise=True,
    ):
        with attempt:
            done = ensure_topics(settings.kafka_access, settings.partitions, fix=fix)
            for name in done.created:
                say(f"created {name}")
            for sentence in done.changed:
                say(sentence)
            say(f"Kafka at {settings.kafka} has every topic with {settings.partitions} partitions.")
            for sentence in done.advice:
                say(sentence, stderr=True)
