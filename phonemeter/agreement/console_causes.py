"""The causes of differences to the platform's count, as the console asks for them."""

import logging
from collections.abc import Sequence

from dashboards.console.cause_desk import CauseCount
from phonemeter.agreement.report import read_agreement
from phonemeter.errors import OperationError

log = logging.getLogger(__name__)


class AgreementCauses:
    """The causes that `phonemeter reconcile` tells.

    Args:
        url: of the ClickHouse that is asked.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def causes_of(self, appid: str) -> Sequence[CauseCount] | None:
        """The causes of the last 31 days up to the newest observation; None if there is no answer."""
        try:
            report = read_agreement(self._url, appid, None)
        except OperationError as error:
            log.warning("Differences are not explained: %s", error)
            return None
        return [CauseCount(one.causes, one.calls, one.effect, one.events_total) for one in report.causes]
