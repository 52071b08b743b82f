"""Errors of the sink, one class per reaction."""


class SinkError(Exception):
    """A condition that ends the sink, in one sentence for the operator."""


class ClickHouseError(Exception):
    """A request that ClickHouse refused or did not acknowledge; to be retried."""


class PoisonError(Exception):
    """A record of `phone-ledger` that cannot be stored. It is not skipped: its partition stops there."""


def raised_by(error: BaseException) -> str:
    """Name of the top-level package whose code raised an error; empty if it was never raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module: str = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return module.partition(".")[0]
