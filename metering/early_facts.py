"""Facts that arrived before the purchase of their pack, and wait for it (rules 10 and 16)."""

from msgspec import Struct

from metering.events import Capability


class EarlyRefund(Struct, frozen=True, array_like=True, gc=False):
    """A refund of a pack whose purchase has not been recorded yet, and waits for it (rule 10).

    It may be the cancellation of an assignment, or the migration of the app `to` another one.
    """

    pack_id: str
    time_ms: int
    event_id: str
    source: str
    by_platform: bool = False
    is_cancellation: bool = False
    to: str = ""


class EarlyObservation(Struct, frozen=True, array_like=True, gc=False):
    """The platform's count of a pack from before its first call and its purchase, which it waits for."""

    pack_id: str
    capability: Capability
    used: int
    time_ms: int
    event_id: str
    source: str
