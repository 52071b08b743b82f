"""Reasons for which a read has no answer; each is a sentence for who asked."""


class LedgerAwayError(Exception):
    """ClickHouse does not answer, or has no ledger yet."""


class TooLongError(Exception):
    """A read has taken all of its time."""


class ExplainingTooLongError(Exception):
    """An event could not be explained within its time."""


class TooMuchError(Exception):
    """An answer would be larger than its limit."""


class NothingFoundError(Exception):
    """There is no such thing for this key."""


class WrongParameterError(Exception):
    """A parameter of a request is unknown, or has a value that it cannot have."""


class ExplainingBusyError(Exception):
    """Another event is being explained."""
