"""A partition of `phone-deliveries` in the hands of one notifier."""

import uuid
from dataclasses import dataclass, field
from typing import Final

from sinks.notifier.deliveries import Deliveries

UNREAD_MS_MAX: Final = 15_000
"""When what was published has not been read back for so long, it is taken for lost."""


@dataclass(slots=True)
class Share:
    """A partition that was assigned, and what was published there but not read back.

    Attributes:
        partition: its number.
        owner: a name of this assignment alone, for its claim.
        known: what was read.
        claimed: whether the claim was published.
        tidied: whether old records were removed.
        unread: by chain, since when something that was published of it has not been read back.
        last_begun_ms: when the newest attempt of a route began.
    """

    partition: int
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    known: Deliveries = field(default_factory=Deliveries)
    claimed: bool = False
    tidied: bool = False
    unread: dict[str, int] = field(default_factory=dict)
    last_begun_ms: dict[str, int] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether our claim was read, and no other one's since."""
        return self.known.owner == self.owner

    def settled(self, chain: str, now_ms: int) -> bool:
        """Whether nothing that was published of a chain is still to be read."""
        return now_ms - self.unread.get(chain, now_ms - UNREAD_MS_MAX) >= UNREAD_MS_MAX
