"""What the notifier refuses, each in one sentence."""

from sinks.errors import SinkError


class RoutesError(SinkError):
    """The file of routes cannot be used: which file, which key, what to do."""
