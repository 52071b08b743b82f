"""The rules that a log is metered by, as its worker has recorded them."""

from kafka.errors import KafkaConnectionError

from metering.rules import Rules
from phonemeter.errors import OperationError
from phonemeter.event_log import rules_of_log
from phonemeter.settings import Settings


class RecordedRules:
    """The rules that the log is metered by; those of the settings while no worker has recorded any."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recorded: Rules | None = None

    def __call__(self) -> Rules:
        """Return the rules, which are read until a worker has recorded them: they are fixed from then on.

        Raises:
            KafkaConnectionError: Kafka does not answer.
        """
        if self._recorded is None:
            try:
                found = rules_of_log(self._settings.kafka_access, self._settings.rules())
            except OperationError as error:
                raise KafkaConnectionError(str(error)) from error
            if not any(summary.next_offset for summary in found.recorded.values()):
                return found.here
            self._recorded = found.log
        return self._recorded
