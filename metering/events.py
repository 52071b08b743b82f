"""The events of `phone-events`: CloudEvents 1.0 of these types, and the rejection of what is none."""

from datetime import datetime
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct, field

from metering.routing_policy import RoutingChoices

Capability = Literal["quick", "realtime"]
CAPABILITIES: Final[tuple[Capability, ...]] = ("quick", "realtime")

PriceBasis = Literal["paid", "catalogue", "unknown"]
"""Origin of a price; an unknown one is 0. The platform tells none of the packs that it reports."""

Coverage = Literal["quota", "capability"]
"""Extent of a count of the platform: one quota, or all quotas of the capability together."""

VALUE_BYTES_MAX: Final = 65_536
"""Limit of an event, which usually has a few hundred bytes."""

CLOCK_KEY: Final = "clock"
"""Key and subject of a clock tick, which is for a whole partition and not for an app."""

APPID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}\Z"

Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Label = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=256)]
Zoned = Annotated[datetime, Meta(tz=True)]
MicroYuan = Annotated[int, Meta(ge=0, le=10**15)]


class AuthorizationData(Struct, frozen=True, gc=False):
    """Place of a tap: capability, scene (entry page), store, build, keyed hash of the client."""

    capability: Capability
    scene: Label = ""
    store: Label = ""
    env: Label = ""
    client: Annotated[str, Meta(max_length=128)] = ""
    calls: Literal[1] = 1
    """Declared so that any other number is refused: ignored, it would be taken for what it says (rule 15)."""


class UnsuccessfulData(AuthorizationData, frozen=True, gc=False):
    """Data of a tap without a number; `errno` is the component's: 103 denied, 1400001 quota exhausted."""

    errno: Annotated[int, Meta(ge=-(2**31), lt=2**31)] = 0


class PurchaseData(Struct, frozen=True, gc=False):
    """A bought pack: size in calls, validity, price, time of payment, optional start.

    Of its calls, `used_before` were used before this log (rule 16).
    """

    pack_id: Identifier
    capability: Capability
    calls: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    validity_days: Annotated[int, Meta(ge=1, le=3_660)]
    price_micro_yuan: MicroYuan
    paid_at: Zoned
    order_id: Annotated[str, Meta(max_length=128)] = ""
    starts_at: Zoned | None = None
    price_basis: PriceBasis = "paid"
    used_before: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class AssignmentData(PurchaseData, frozen=True, gc=False):
    """A pack that an agency bought, and the time at which it assigned it to the app: that of the event."""

    assigned_at: Zoned | None = None


class RefundData(Struct, frozen=True, gc=False):
    """The pack of a refund, and whose act it is: a request of the owner, or a fact of the platform."""

    pack_id: Identifier
    by: Literal["owner", "platform"] = "owner"


class RegistrationData(Struct, frozen=True, gc=False):
    """The owner of an app, who decides exemption (rule 9)."""

    entity_type: Label
    name: Text = ""
    category: Label = ""


class OpeningData(Struct, frozen=True, gc=False):
    """The calls of a trial quota that were used before this log; with `trial_scope` `capability`, of one."""

    trial_used: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    capability: Capability | None = None


class ChangedFields(
    Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True, omit_defaults=True
):
    """The fields of a corrected fact as they should have been; absent ones stay as they were.

    `metering.corrections` tells which of them belong to which facts.
    """

    time: Zoned | None = None
    capability: Capability | None = None
    scene: Label | None = None
    store: Label | None = None
    env: Label | None = None
    pack_id: Identifier | None = None
    order_id: Annotated[str, Meta(max_length=128)] | None = None
    calls: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    validity_days: Annotated[int, Meta(ge=1, le=3_660)] | None = None
    price_micro_yuan: MicroYuan | None = None
    price_basis: PriceBasis | None = None
    paid_at: Zoned | None = None
    assigned_at: Zoned | None = None
    starts_at: Zoned | None = None
    used_before: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    by: Literal["owner", "platform"] | None = None
    entity_type: Label | None = None
    name: Text | None = None
    category: Label | None = None


class CorrectionData(Struct, frozen=True, gc=False):
    """The correction of a fact of the same app: it is void, or some of its fields are others (rule 15)."""

    event_id: Identifier
    void: bool = False
    set: ChangedFields | None = None
    note: Text = ""


class MigrationData(Struct, frozen=True, gc=False):
    """The appid that an app has from now on."""

    to: Annotated[str, Meta(min_length=1, max_length=64)]


class AlertingData(Struct, frozen=True, gc=False):
    """An app's own alert thresholds; absent ones stay as they are."""

    levels_percent: Annotated[list[Annotated[int, Meta(ge=0, le=100)]], Meta(max_length=10)] | None = None
    expiry_days: Annotated[list[Annotated[int, Meta(ge=0, le=365)]], Meta(max_length=10)] | None = None
    run_out_lead_days: Annotated[int, Meta(ge=0, le=365)] | None = None
    burn_minute_calls: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    burn_client_calls: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    burn_percent: Annotated[int, Meta(ge=100, le=10_000)] | None = None


class AgreementData(Struct, frozen=True, gc=False):
    """An app's policy on differences to the platform's count: they are shown, or booked as well (rule 17)."""

    policy: Literal["report", "follow"]


class RoutingData(RoutingChoices, frozen=True, kw_only=True, gc=False):
    """An owner's choices of the routing policy of a capability; absent ones stay as they are (rule 20)."""

    capability: Capability


class ChargeNoticeData(Struct, frozen=True, gc=False):
    """A charge notice to the owner of an app, as it was previewed (rule 21).

    Attributes:
        capability: the capability that is charged.
        monthly_calls_max: the bound of the average use: so many calls a month at most.
        price_min_micro_yuan, price_max_micro_yuan: of one call.
        charged_from: the start of charging.
        name: the app's name; empty if nobody knows it.
    """

    capability: Capability
    monthly_calls_max: Annotated[int, Meta(ge=1, le=10**12)]
    price_min_micro_yuan: MicroYuan
    price_max_micro_yuan: MicroYuan
    charged_from: Zoned
    name: Text = ""


class ObservationData(Struct, frozen=True, gc=False):
    """The platform's count of one pack, or of the trial quota if `pack_id` is empty.

    One that `covers` the capability is of all its quotas together, and of none by itself.
    """

    capability: Capability
    pack_id: Annotated[str, Meta(max_length=128)] = ""
    used: Annotated[int, Meta(ge=0)] = 0
    size: Annotated[int, Meta(ge=0)] = 0
    covers: Coverage = "quota"


Quota = Annotated[
    str, Meta(pattern=r"^(?:trial|uncovered|exempt|corrected|followed|pack:(?s:.{1,128}))\Z", max_length=133)
]
"""The quota that a call is taken from: `trial`, `uncovered`, `exempt`, or `pack:` and the pack's id.

Of `corrected` are the calls that corrections took out of the log, without those that they put into it; of
`followed` those that the platform's count has less than the log, so mostly negative.
"""

OFFSET_MAX: Final = 2**62

SETTLEMENT_TYPE: Final = "account.settled"

MOVES_MAX: Final = 200
"""Limit of moves of one event; more are cut into parts."""

PACKS_SET_MAX: Final = 20
"""Limit of packs of one event whose terms are corrected; more are cut into parts."""


class Move(Struct, frozen=True, kw_only=True, gc=False):
    """Calls of one day, scene, store and build that are to be taken from another quota than they were.

    Negative ones are to be so of fewer calls than none, which only following leads to.
    """

    capability: Capability
    from_: Quota = field(name="from")
    to: Quota
    calls: Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
    time: Zoned
    scene: Label = ""
    store: Label = ""
    env: Label = ""


class PackTerms(Struct, frozen=True, kw_only=True, gc=False):
    """The terms of a pack as they should have been, and the purchase `of` which they are."""

    of: Identifier
    pack: AssignmentData


class OwnerTerms(Struct, frozen=True, kw_only=True, gc=False):
    """The owner as it should have been, and the registration `of` which it is; empty without one."""

    of: Annotated[str, Meta(max_length=128)]
    time: Zoned
    entity_type: Label
    name: Text = ""
    category: Label = ""


class SettlementData(Struct, frozen=True, kw_only=True, gc=False):
    """The changes that bring an app to the order of effective time: moves of calls, and refunds decided anew.

    `as_of` is the source offset up to which the ledger was read, `after` that of the app's settlement before,
    `rules` the digest of the rules by which it was worked out. `refund_times` are those of
    `refunded`. By corrections, `packs` have
    other terms or are new, those `removed` were not bought, and the owner is another one.

    One that follows the platform's count only moves calls from or to `followed`; `follows` is the event id of
    the app's one before, empty for the first.
    """

    as_of: Annotated[int, Meta(ge=0, le=OFFSET_MAX)]
    after: Annotated[int, Meta(ge=-1, le=OFFSET_MAX)]
    from_: Zoned = field(name="from")
    moves: Annotated[list[Move], Meta(max_length=MOVES_MAX)] = []
    refunded: Annotated[list[Identifier], Meta(max_length=MOVES_MAX)] = []
    refund_times: Annotated[list[Zoned], Meta(max_length=MOVES_MAX)] = []
    not_refunded: Annotated[list[Identifier], Meta(max_length=MOVES_MAX)] = []
    packs: Annotated[list[PackTerms], Meta(max_length=PACKS_SET_MAX)] = []
    removed: Annotated[list[Identifier], Meta(max_length=PACKS_SET_MAX)] = []
    owner: OwnerTerms | None = None
    rules: Label = ""
    follows: Annotated[str, Meta(max_length=128)] | None = None
    part: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    parts: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class Event(Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """The fields of all events; `subject` is the appid, `id` the idempotency key (rule 2)."""

    specversion: Literal["1.0"]
    id: Identifier
    source: Text
    subject: str
    time: Zoned
    datacontenttype: str = ""


class Authorization(Event, frozen=True, kw_only=True, gc=False):
    """The outcome of a tap."""

    data: AuthorizationData


class Succeeded(Authorization, frozen=True, kw_only=True, gc=False, tag="phone.authorization.succeeded"):
    """A user gave the number: exactly one call."""


class Unsuccessful(Authorization, frozen=True, kw_only=True, gc=False):
    """A tap that gave no number: counted, never charged."""

    data: UnsuccessfulData


class Denied(Unsuccessful, frozen=True, kw_only=True, gc=False, tag="phone.authorization.denied"):
    """A user refused."""


class Failed(Unsuccessful, frozen=True, kw_only=True, gc=False, tag="phone.authorization.failed"):
    """The component failed."""


class Purchased(Event, frozen=True, kw_only=True, gc=False, tag="pack.purchased"):
    """A pack was bought."""

    data: PurchaseData

    @property
    def had_from(self) -> datetime:
        """The time from which the app has the pack, though it may be valid only later."""
        return self.data.paid_at


class Assigned(Purchased, frozen=True, kw_only=True, gc=False, tag="pack.assigned"):
    """An agency assigned a pack to the app (rule 16)."""

    data: AssignmentData

    @property
    def had_from(self) -> datetime:
        """The time of the assignment, whenever the agency paid."""
        return self.data.assigned_at or self.time


class Refunded(Event, frozen=True, kw_only=True, gc=False, tag="pack.refunded"):
    """A refund was asked for, or the platform took a pack back."""

    data: RefundData


class AssignmentCancelled(Refunded, frozen=True, kw_only=True, gc=False, tag="pack.assignment_cancelled"):
    """The cancellation of an assignment was asked for, or the platform did it."""


class Registered(Event, frozen=True, kw_only=True, gc=False, tag="account.registered"):
    """An app was registered or its owner changed."""

    data: RegistrationData


class Opened(Event, frozen=True, kw_only=True, gc=False, tag="account.opened"):
    """An app that is in use already was taken up."""

    data: OpeningData


class Corrected(Event, frozen=True, kw_only=True, gc=False, tag="fact.corrected"):
    """An earlier fact was wrong."""

    data: CorrectionData


class Migrated(Event, frozen=True, kw_only=True, gc=False, tag="account.migrated"):
    """An app got another appid."""

    data: MigrationData


class AlertingSet(Event, frozen=True, kw_only=True, gc=False, tag="account.alerting_set"):
    """An owner set thresholds."""

    data: AlertingData


class AgreementSet(Event, frozen=True, kw_only=True, gc=False, tag="account.agreement_set"):
    """An owner set the policy on the platform's count."""

    data: AgreementData


class RoutingSet(Event, frozen=True, kw_only=True, gc=False, tag="account.routing_set"):
    """An owner set how members are sent to WeChat or elsewhere."""

    data: RoutingData


class ChargeNoticeRequested(
    Event, frozen=True, kw_only=True, gc=False, tag="account.charge_notice_requested"
):
    """Somebody asked for a charge notice to the owner."""

    data: ChargeNoticeData


class UsageObserved(Event, frozen=True, kw_only=True, gc=False, tag="platform.usage_observed"):
    """The platform's own count was read."""

    data: ObservationData


class Settled(Event, frozen=True, kw_only=True, gc=False, tag=SETTLEMENT_TYPE):
    """An app was worked out in the order of effective time (rule 8)."""

    data: SettlementData


class ClockTicked(Event, frozen=True, kw_only=True, gc=False, tag="clock.ticked"):
    """Time passed for every app of the partition."""


AnyEvent = (
    Succeeded
    | Denied
    | Failed
    | Purchased
    | Assigned
    | Refunded
    | AssignmentCancelled
    | Registered
    | Opened
    | Migrated
    | Corrected
    | AlertingSet
    | AgreementSet
    | RoutingSet
    | ChargeNoticeRequested
    | UsageObserved
    | Settled
    | ClockTicked
)

EVENT_TYPES: Final[tuple[str, ...]] = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyEvent))
