"""Asking ClickHouse: a stage knows no other, so the program gives the reads their connection."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from metering.times import format_time, to_ms


class Ask(Protocol):
    """A question to the views."""

    def __call__(
        self, query: str, parameters: Mapping[str, object] | None = None, /
    ) -> list[tuple[Any, ...]]:
        """The rows of a query; its values come as parameters and are never written into it."""


def iso(at: datetime) -> str:
    """A moment as answers have it: in UTC with milliseconds."""
    return format_time(to_ms(at))


def iso_or_none(at: datetime | None) -> str | None:
    """A moment that may not be."""
    return None if at is None else iso(at)
