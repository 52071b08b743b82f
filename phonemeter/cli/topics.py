"""`phonemeter topics`: the topics on a Kafka that the stack does not run itself."""

import typer
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from phonemeter.errors import OperationError
from phonemeter.settings import load
from phonemeter.stack.kafka.topics import ensure_topics


def topics() -> None:
    """Create the topics that are missing on the Kafka of the settings and check those that are there.

    Waits for a Kafka that is not there yet, at most ready_timeout_s. Topics under which the rules of metering
    would not hold are refused. phonemeter up does all this by itself.
    """
    settings = load()
    for attempt in Retrying(
        stop=stop_after_delay(settings.ready_timeout_s),
        wait=wait_fixed(1),
        retry=retry_if_exception_type(OperationError),
        reraise=True,
    ):
        with attempt:
            created = ensure_topics(settings.kafka, settings.partitions)
            for name in created:
                typer.echo(f"created {name}")
            typer.echo(f"Kafka at {settings.kafka} has every topic with {settings.partitions} partitions.")
