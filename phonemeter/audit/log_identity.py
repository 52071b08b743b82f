"""The identity of the log that is audited, compared with the mark that the worker recorded."""

import asyncio
from collections.abc import Mapping

from aiokafka.errors import KafkaError

from kafka_access.access import KafkaAccess
from metering.log_identity import difference, refusal
from metering.topics import EVENTS
from phonemeter.errors import OperationError
from streams.log_view import LogViewer
from streams.log_watch import WAY_OUT
from streams.state_log import LogSummary


def another_log(kafka: KafkaAccess, recorded: Mapping[int, LogSummary]) -> str:
    """A sentence if the log is not the one of which workers recorded the summaries; empty if it is.

    Raises:
        OperationError: Kafka does not answer.
    """
    metered = {partition: one for partition, one in recorded.items() if one.next_offset}
    if not metered:
        return ""
    offsets = {partition: one.mark.offset for partition, one in metered.items()}
    try:
        views = asyncio.run(LogViewer(kafka).look(offsets))
    except KafkaError as error:
        raise OperationError(f"Kafka at {kafka} does not show {EVENTS}: {error}.") from None
    for partition, one in sorted(metered.items()):
        differs = difference(one.mark, one.next_offset, views[partition])
        if differs:
            return f"{refusal(EVENTS, partition, differs, WAY_OUT)}."
    return ""
