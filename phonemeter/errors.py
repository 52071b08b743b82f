"""The errors that a user may see: one sentence each, turned into an exit status by the command line."""


class PhonemeterError(Exception):
    """An expected failure, told in one sentence that says what, where and what to do.

    The command line prints it without a traceback and exits with `exit_status`.
    """

    exit_status = 1


class UserError(PhonemeterError):
    """What was asked for cannot be done as asked: wrong usage, a setting, a missing prerequisite.

    An id that could be one and is not there is no wrong usage: that is an `OperationError`.
    """

    exit_status = 2


class OperationError(PhonemeterError):
    """What was asked for is right and was tried, and failed; or what it is about is not there."""
