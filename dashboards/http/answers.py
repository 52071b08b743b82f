"""The answers of the reads: the types of which the OpenAPI document is made too."""

from typing import Annotated

from msgspec import Meta, Struct

from dashboards.reads.alerts import ToldAlert
from dashboards.reads.apps import AppSummary, CapabilityOutlook
from dashboards.reads.balance import AppBalance
from dashboards.reads.packs import BoughtPack
from dashboards.reads.usage import Period, PeriodUsage

CompleteUntil = Annotated[
    str | None,
    Meta(description="Everything that had arrived by then is in the figures; null while that is not known."),
]
AsOf = Annotated[str, Meta(description="What the figures take for now.")]
RunsOn = Annotated[str, Meta(description="`wall`, or `events` in a past that is played.")]
NextCursor = Annotated[
    str | None, Meta(description="The parameter `cursor` for the next page; null if this is the last.")
]


class AppsPage(Struct, frozen=True, kw_only=True):
    """Apps of the key, in the order of their ids."""

    as_of: AsOf
    runs_on: RunsOn
    complete_until: CompleteUntil
    apps: list[AppSummary]
    next: NextCursor


class AppAnswer(Struct, frozen=True, kw_only=True):
    """An app as registered, and the outlook of each capability."""

    as_of: AsOf
    runs_on: RunsOn
    complete_until: CompleteUntil
    appid: str
    name: str
    exempt: bool
    unsettled_from: Annotated[str | None, Meta(description="From when on its figures may still change.")]
    migrated_to: str
    migrated_from: list[str]
    capabilities: dict[str, CapabilityOutlook]


class BalanceAnswer(AppBalance, frozen=True, kw_only=True):
    """The balance of an app. A trial quota that is `trial_shared` serves both capabilities."""

    complete_until: CompleteUntil


class PacksPage(Struct, frozen=True, kw_only=True):
    """Packs of an app, in consumption order within each capability."""

    appid: str
    as_of: AsOf
    runs_on: RunsOn
    complete_until: CompleteUntil
    packs: list[BoughtPack]
    next: NextCursor


class UsagePage(Struct, frozen=True, kw_only=True):
    """The use of an app. Hours, days and months without any have no row."""

    appid: str
    as_of: AsOf
    runs_on: RunsOn
    complete_until: CompleteUntil
    period: Period
    first_day: str
    last_day: str
    usage: list[PeriodUsage]
    next: NextCursor


class AlertsPage(Struct, frozen=True, kw_only=True):
    """Alerts of an app and recoveries from them, the newest first."""

    appid: str
    as_of: AsOf
    runs_on: RunsOn
    complete_until: CompleteUntil
    alerts: list[ToldAlert]
    next: NextCursor
