"""The input of a settlement: the facts of an app, and the sums of its ledger (rule 8)."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from metering.events import Capability, ChangedFields, PriceBasis
from metering.packs import Pack


class CallFact(NamedTuple):
    """A succeeded authorization."""

    time_ms: int
    capability: Capability
    scene: str
    store: str
    env: str
    event_id: str


class PurchaseFact(NamedTuple):
    """A purchase, also one that was refused as its pack was known; of the pack only its terms count.

    `used_before` are the calls of which it says that they were used before this log.
    `agency_paid_ms` is when the agency paid that assigned the pack; None for one that was bought.
    """

    capability: Capability
    pack: Pack
    event_id: str
    price_basis: PriceBasis = "paid"
    used_before: int = 0
    agency_paid_ms: int | None = None

    @property
    def effective_ms(self) -> int:
        """The time from which it counts."""
        return self.pack.effective_ms


class RefundFact(NamedTuple):
    """A refund that was asked for, whatever became of it, or one that the platform did."""

    time_ms: int
    pack_id: str
    event_id: str
    by_platform: bool = False


class RegistrationFact(NamedTuple):
    """A registration: the owner of the app from its time on."""

    time_ms: int
    event_id: str
    entity_type: str
    name: str = ""
    category: str = ""


class CorrectionFact(NamedTuple):
    """A correction of the fact of an event id: its fields as they should have been; None if it is void."""

    time_ms: int
    event_id: str
    fact_id: str
    changed: ChangedFields | None
    offset: int


class FollowedFact(NamedTuple):
    """Calls of a pack or trial quota that were booked to follow the platform's count (rule 17).

    They are negative if they were given back. `quota` is as in `metering.events.Quota`.
    """

    time_ms: int
    capability: Capability
    quota: str
    calls: int


class AccountFacts(Struct):
    """All facts of an app besides its calls, in any order; repeated ones do no harm.

    Attributes:
        corrected_calls: the calls that corrections name.
        offsets: source offsets of facts that corrections name, by event id.
        followed: what was booked to follow the platform's count, in the order of the log.
        migration: the refund that it is of every pack that leaves, without a pack; None without one.
    """

    purchases: list[PurchaseFact] = []
    refunds: list[RefundFact] = []
    registrations: list[RegistrationFact] = []
    corrections: list[CorrectionFact] = []
    corrected_calls: list[CallFact] = []
    offsets: dict[str, int] = {}
    followed: list[FollowedFact] = []
    migration: RefundFact | None = None


class LedgerGroup(NamedTuple):
    """Calls that a settlement does not tell apart. `quota` is as in `metering.events.Quota`."""

    capability: Capability
    quota: str
    day: int
    scene: str
    store: str
    env: str


class LedgerSums(Struct):
    """The ledger of an app, with calls from `from_ms` on by group, and the quotas as of then.

    Attributes:
        from_ms: the time from which the app is unsettled: the first millisecond of a Shanghai day.
        trial_left: calls left then of the shared trial quota, under the empty name, or of each capability's.
        used: calls taken before then, by pack id, with those from before this log (rule 16); `trial_left` is
            without these.
        calls: sums of `calls` of the kinds of outcomes from then on, without `free` and with `corrected` and
            `followed`.
        refunded: packs that are refunded now, with the times of that.
        packs: the purchases of the packs that there are now, by pack id.
        opened: calls used before this log as it is now, by pack id.
        observed: the same as the platform's count told it, of the packs that it opened.
        owner: the registration that holds now; None without one.
        trial_sizes: the calls of each trial quota that were not used before this log, named as `trial_left`.
    """

    from_ms: int
    trial_left: Mapping[str, int]
    used: Mapping[str, int]
    calls: Mapping[LedgerGroup, int]
    refunded: Mapping[str, int] = {}
    packs: Mapping[str, PurchaseFact] = {}
    opened: Mapping[str, int] = {}
    observed: Mapping[str, int] = {}
    owner: RegistrationFact | None = None
    trial_sizes: Mapping[str, int] = {}
