"""The notifier's errors, each with one sentence."""

from sinks.errors import SinkError


class RoutesError(SinkError):
    """A routes file that cannot be used; the sentence has file, key and remedy."""
