"""The worker's reaction to errors: it drops what it does not own any more, and stops on everything else."""

import logging
from collections.abc import Awaitable
from typing import Final

from streams.log_watch import LogChangedError
from streams.membership import PartitionLostError
from streams.publisher import PublishRefusedError
from streams.record_batches import RecordBatchApp
from streams.state_log import StateDamagedError
from streams.state_restore import PartitionsChangedError, RulesChangedError

logger = logging.getLogger(__name__)

_EXPLAINED: Final = (
    LogChangedError,
    PartitionsChangedError,
    RulesChangedError,
    StateDamagedError,
    PublishRefusedError,
)
"""Errors whose sentence explains them, so that they are logged without a stack trace."""


class CrashGuard:
    """Runs the steps of a worker and stops the program on errors that no wait mends.

    Nothing is acked or metered from then on, and the supervisor starts the program again.
    """

    def __init__(self, app: RecordBatchApp) -> None:
        self._app = app
        self.stopping = False

    async def run(self, step: Awaitable[None]) -> None:
        """Run one step."""
        try:
            await step
        except PartitionLostError as lost:
            logger.info("%s", lost)
        except Exception as error:
            explained = isinstance(error, _EXPLAINED)
            logger.critical("the worker stops: %s", error, exc_info=not explained)
            # No wait for the cancellation here: a consumer of aiokafka swallows one while it stops.
            self.stopping = True
            await self._app.crash(error)
