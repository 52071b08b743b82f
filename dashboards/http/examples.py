"""An example of each answer, as an answer of its type."""

from typing import Final

from msgspec import Struct

from dashboards.http.answers import (
    AlertsPage,
    AppAnswer,
    AppsPage,
    BalanceAnswer,
    PacksPage,
    UsagePage,
)
from dashboards.http.event_answer import (
    EventAnswer,
    ToldBalance,
    ToldEntry,
    ToldExplanation,
    ToldOccurrence,
    ToldPack,
)
from dashboards.reads.alerts import ToldAlert
from dashboards.reads.apps import AppSummary, CapabilityOutlook
from dashboards.reads.balance import CapabilityHolding
from dashboards.reads.packs import BoughtPack, PackBalance
from dashboards.reads.usage import PeriodUsage

APP: Final = "wxfb1f3d218d111092"
NOW: Final = "2026-10-17T10:05:08.000Z"
COMPLETE: Final = "2026-10-17T10:05:03.000Z"
BOUGHT: Final = "2026-10-01T02:00:00.000Z"
GONE: Final = "2027-10-01T02:00:00.000Z"
TAPPED: Final = "2026-10-17T10:05:03.120Z"
TAP: Final = "b7b0a1d5c9f04a1db3cbe59b5b8f4a0e"
PACK: Final = "1187264521"

_PACK: Final = PackBalance(
    pack_id=PACK,
    status="active",
    burns=1,
    calls=1_000,
    used_before=0,
    charged=1,
    lapsed=0,
    refunded=0,
    remaining=999,
    starts_at=BOUGHT,
    expires_at=GONE,
    amount_micro_yuan=30_000,
)
_BOUGHT: Final = BoughtPack(
    **{name: getattr(_PACK, name) for name in PackBalance.__struct_fields__},
    capability="quick",
    order_id="order-2026-10-01",
    validity_days=365,
    price_micro_yuan=30_000_000,
    paid_at=BOUGHT,
)
_ENTRY: Final = ToldEntry(
    offset=417,
    line=0,
    kind="charge",
    time=TAPPED,
    recorded_at="2026-10-17T10:05:03.180Z",
    appid=APP,
    capability="quick",
    event_id=TAP,
    calls=1,
    amount_micro_yuan=30_000,
    pack_id=PACK,
    remaining=999,
    reason="",
    errno=0,
    scene="card_claim",
    store="store-03",
    env="release",
    client="e7d524b842e625e2",
    source="/backend/member-centre",
    details={},
)

EXAMPLES: Final[dict[str, Struct]] = {
    "apps": AppsPage(
        as_of=NOW,
        runs_on="wall",
        complete_until=COMPLETE,
        apps=[
            AppSummary(
                appid=APP,
                name="Member centre",
                label="Member centre",
                entity_type="enterprise",
                category="retail",
                exempt=False,
                registered_at=BOUGHT,
                first_recorded_at=BOUGHT,
                unsettled_from=None,
                migrated_to="",
                calls_left={"quick": 999, "realtime": 0},
            )
        ],
        next=None,
    ),
    "app": AppAnswer(
        as_of=NOW,
        runs_on="wall",
        complete_until=COMPLETE,
        appid=APP,
        name="Member centre",
        exempt=False,
        unsettled_from=None,
        migrated_to="",
        migrated_from=[],
        capabilities={
            "quick": CapabilityOutlook(999, 0, "2026-12-24T03:00:00.000Z", GONE, None, 0, []),
            "realtime": CapabilityOutlook(0, 0, None, None, None, 0, []),
        },
    ),
    "balance": BalanceAnswer(
        appid=APP,
        as_of=NOW,
        runs_on="wall",
        trial_size=1_000,
        trial_remaining=0,
        trial_shared=True,
        unsettled_from=None,
        capabilities={
            "quick": CapabilityHolding(999, 0, 999, 0, 0, [_PACK]),
            "realtime": CapabilityHolding(0, 0, 0, 0, 0, []),
        },
        complete_until=COMPLETE,
    ),
    "packs": PacksPage(
        appid=APP, as_of=NOW, runs_on="wall", complete_until=COMPLETE, packs=[_BOUGHT], next=None
    ),
    "usage": UsagePage(
        appid=APP,
        as_of=NOW,
        runs_on="wall",
        complete_until=COMPLETE,
        period="day",
        first_day="2026-09-18",
        last_day="2026-10-17",
        usage=[
            PeriodUsage(
                begins="2026-10-17",
                capability="quick",
                store="store-03",
                succeeded=1,
                charged=1,
                trial_charged=0,
                free=0,
                exempt=0,
                uncovered=0,
                denied=0,
                failed=0,
                duplicates=0,
                amount_micro_yuan=30_000,
            )
        ],
        next=None,
    ),
    "alerts": AlertsPage(
        appid=APP,
        as_of=NOW,
        runs_on="wall",
        complete_until=COMPLETE,
        alerts=[
            ToldAlert(
                alert_id="2-401-1",
                kind="alert",
                state="open",
                capability="realtime",
                reason="level",
                level_percent=20,
                time=TAPPED,
                remaining=200,
                pack_id="",
                details={"level_percent": 20, "size": 1_000},
                sentence="200 of 1,000 calls were left, which is 20 % or less.",
            )
        ],
        next=None,
    ),
    "event": EventAnswer(
        explained=True,
        as_of=NOW,
        runs_on="wall",
        complete_until=COMPLETE,
        event_id=TAP,
        appid=APP,
        partition=2,
        occurrences=[
            ToldOccurrence(
                explanation=ToldExplanation(
                    partition=2,
                    offset=417,
                    recorded_at="2026-10-17T10:05:03.180Z",
                    appid=APP,
                    event_id=TAP,
                    capability="quick",
                    time=TAPPED,
                    clock_at=TAPPED,
                    decision="charge",
                    reason="",
                    why=f"Pack {PACK} took the call: of the packs that are valid it expires first.",
                    pack_id=PACK,
                    seen_at=None,
                    considered=[
                        ToldPack(
                            pack_id=PACK,
                            calls=1_000,
                            remaining=1_000,
                            starts_at=BOUGHT,
                            expires_at=GONE,
                            verdict="taken",
                        )
                    ],
                    alerts=[],
                    before=ToldBalance(calls_left=1_000, trial=0, packs={PACK: 1_000}),
                    after=ToldBalance(calls_left=999, trial=0, packs={PACK: 999}),
                    entries=[_ENTRY],
                    settlement="",
                ),
                duplicate_of=None,
            )
        ],
        takeovers=[],
        settlements=[],
        corrections=[],
        published=[_ENTRY],
        publications=1,
        stored=[_ENTRY],
        not_asked="",
        settings_note="",
    ),
}
