"""Errors for users: one sentence each, which the command line turns into an exit status."""


class PhonemeterError(Exception):
    """An expected failure: one sentence with what failed, where, and what to do.

    The command line prints it without a traceback and exits with `exit_status`.
    """

    exit_status = 1


class UserError(PhonemeterError):
    """A request that cannot be carried out: wrong usage, a wrong setting, a missing prerequisite.

    A well-formed id that does not exist is not wrong usage but an `OperationError`.
    """

    exit_status = 2


class OperationError(PhonemeterError):
    """A valid request that failed, or whose object does not exist."""
