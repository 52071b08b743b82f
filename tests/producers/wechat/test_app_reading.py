"""Readings of one app through the stand-in: what becomes events, and when again."""

from collections import deque
from collections.abc import AsyncIterator, Sequence

import pytest

from metering.times import DAY_MS, HOUR_MS, SECOND_MS
from producers.errors import DeliveryError
from producers.wechat.app_reading import AppReading, Surroundings
from producers.wechat.apps import default_prices
from producers.wechat.errors import LedgerUnavailableError, WechatError
from producers.wechat.matching import KnownPack
from producers.wechat.metrics import Metrics
from producers.wechat.pack_notes import PackNotes
from producers.wechat.tokens import Tokens
from producers.wechat_sim.packs import SPUS
from producers.wechat_sim.world import SimulatedWechat
from tests.producers.wechat.parts import APP, Collector, api_of, apps, everything_logged, simulated

PURCHASE, OBSERVATION = "pack.purchased", "platform.usage_observed"


class World:
    """The stand-in with a clock that is moved by hand, a reading of its app, and the packs of the ledger."""

    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000
        self.wechat: SimulatedWechat = simulated()
        self.wechat.now_s = lambda: self.now_ms / SECOND_MS
        self.published = Collector()
        self.ledger: Sequence[KnownPack] | None = []
        self.asked = 0
        self.metrics = Metrics()
        self.reading: AppReading

    def buy(self, name: str, *, days: int = 90, calls: int = 250) -> None:
        self.wechat.buy(APP, "quick", calls, days, pkg_id=name)

    def use(self, calls: int) -> None:
        self.wechat.apps[APP].quotas.use(SPUS["quick"], calls, self.wechat.now_s())

    def packs_of(self, appid: str) -> Sequence[KnownPack]:
        assert appid == APP
        self.asked += 1
        if self.ledger is None:
            raise LedgerUnavailableError("ClickHouse is away.")
        return self.ledger

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with api_of(made.wechat) as api:
        shared = Surroundings(
            api,
            {"quick": SPUS["quick"], "realtime": SPUS["realtime"]},
            default_prices(),
            made.packs_of,
            made.published,
            made.metrics,
            lambda: made.now_ms,
            PackNotes(made.metrics),
        )
        made.reading = AppReading(apps().apps[APP], Tokens(api, apps()).of_app(APP), shared)
        yield made


def counts(world: World) -> list[tuple[str, int, int]]:
    return [(data["pack_id"], data["used"], data["size"]) for data in world.published.data(OBSERVATION)]


async def test_packs_that_were_bought_at_wechat_become_purchases_and_then_every_quota_is_observed(
    world: World,
) -> None:
    world.buy("ZY1")
    world.use(1_007)
    await world.reading.read()
    assert [event["type"] for event in world.published.events] == [PURCHASE, OBSERVATION, OBSERVATION]
    (bought,) = world.published.data(PURCHASE)
    assert (bought["pack_id"], bought["calls"], bought["price_basis"]) == ("ZY1", 250, "catalogue")
    assert counts(world) == [("", 1_000, 1_000), ("ZY1", 7, 250)]


async def test_a_count_is_told_again_when_it_changes_and_every_hour(world: World) -> None:
    world.buy("ZY1")
    await world.reading.read()
    first = counts(world)
    world.now_ms += HOUR_MS - 1
    await world.reading.read()
    assert counts(world) == first
    world.use(3)
    await world.reading.read()
    assert counts(world)[2:] == [("", 3, 1_000)]
    world.now_ms += 1
    await world.reading.read()
    assert counts(world)[3:] == [("ZY1", 0, 250)]
    assert len(world.published.of(PURCHASE)) == 1
    assert len({event["id"] for event in world.published.events}) == len(world.published.events)


async def test_the_ledger_is_asked_about_packs_that_are_not_known_yet_and_once_an_hour(world: World) -> None:
    await world.reading.read()
    assert world.asked == 1
    world.buy("ZY1")
    await world.reading.read()
    world.now_ms += HOUR_MS - 1
    await world.reading.read()
    assert world.asked == 2
    world.now_ms += 1
    await world.reading.read()
    assert world.asked == 3


async def test_a_pack_that_is_typed_in_after_wechats_was_recorded_is_noticed_within_an_hour(
    world: World,
) -> None:
    world.buy("ZY1")
    await world.reading.read()
    start_ms = int(world.wechat.now_s()) * SECOND_MS
    # The sink has stored the one and not the other yet.
    world.ledger = [KnownPack("typed", "", "quick", 250, 90, start_ms, is_open=True)]
    world.now_ms += HOUR_MS
    await world.reading.read()
    assert world.metric("phonemeter_wechat_unmatched_packs") == 1
    assert world.metric("phonemeter_wechat_joined_packs") == 0
    assert len(world.published.of(PURCHASE)) == 1


async def test_counts_are_told_while_the_ledger_cannot_be_asked_unless_there_is_a_new_pack(
    world: World,
) -> None:
    world.buy("ZY1")
    await world.reading.read()
    world.ledger = None
    world.now_ms += HOUR_MS
    world.use(5)
    await world.reading.read()
    assert counts(world)[2:] == [("", 5, 1_000), ("ZY1", 0, 250)]


async def test_a_pack_that_the_ledger_has_is_not_bought_again(world: World) -> None:
    world.buy("ZY1")
    start_ms = int(world.wechat.now_s()) * SECOND_MS
    world.ledger = [KnownPack("ZY1", "", "quick", 250, 90, start_ms, is_open=True)]
    await world.reading.read()
    assert world.published.of(PURCHASE) == []
    assert ("ZY1", 0, 250) in counts(world)


async def test_a_pack_that_was_typed_in_under_another_name_is_observed_under_that(world: World) -> None:
    world.buy("ZY1")
    start_ms = int(world.wechat.now_s()) * SECOND_MS
    world.ledger = [KnownPack("october", "", "quick", 250, 90, start_ms + HOUR_MS, is_open=True)]
    with everything_logged() as lines:
        await world.reading.read()
        world.now_ms += HOUR_MS
        await world.reading.read()
    assert world.published.of(PURCHASE) == []
    assert ("october", 0, 250) in counts(world)
    assert "ZY1" not in {name for name, *_ in counts(world)}
    assert sum("is taken for the ledger's october" in line for line in lines) == 1
    assert world.metric("phonemeter_wechat_joined_packs") == 1


async def test_a_pack_of_the_ledger_that_wechat_does_not_have_is_told_once(world: World) -> None:
    world.buy("ZY1")
    world.ledger = [KnownPack("stray", "", "quick", 777, 90, world.now_ms, is_open=True)]
    with everything_logged() as lines:
        await world.reading.read()
        world.buy("ZY2", calls=1_000)
        await world.reading.read()
    assert sum("a pack stray of" in line for line in lines) == 1
    assert world.metric("phonemeter_wechat_unmatched_packs") == 1


async def test_while_the_ledger_cannot_be_asked_no_pack_is_bought_nor_counted(world: World) -> None:
    world.buy("ZY1")
    world.ledger = None
    with pytest.raises(LedgerUnavailableError):
        await world.reading.read()
    assert world.published.events == []
    world.ledger = []
    await world.reading.read()
    assert len(world.published.of(PURCHASE)) == 1


async def test_an_event_that_kafka_did_not_take_is_published_again_with_the_same_id(world: World) -> None:
    world.buy("ZY1")
    world.published.away = True
    with pytest.raises(DeliveryError):
        await world.reading.read()
    world.published.away = False
    await world.reading.read()
    assert len(world.published.of(PURCHASE)) == 1
    assert len(counts(world)) == 2


async def test_a_pack_that_ended_long_ago_is_history_and_one_that_ended_today_is_not(world: World) -> None:
    world.buy("ZY-old", days=1)
    world.buy("ZY-late", days=2)
    world.now_ms += 2 * DAY_MS + HOUR_MS
    await world.reading.read()
    assert [data["pack_id"] for data in world.published.data(PURCHASE)] == ["ZY-late"]
    assert {name for name, *_ in counts(world)} == {"", "ZY-late"}


async def test_the_count_of_a_pack_that_has_ended_is_not_repeated(world: World) -> None:
    world.buy("ZY1", days=1)
    await world.reading.read()
    world.now_ms += 3 * DAY_MS
    await world.reading.read()
    assert [name for name, *_ in counts(world)] == ["", "ZY1", ""]


async def test_a_row_that_can_be_no_pack_holds_up_no_other_and_is_told_once(world: World) -> None:
    world.buy("ZY-none", calls=0)
    world.buy("ZY1")
    with everything_logged() as lines:
        await world.reading.read()
        await world.reading.read()
    assert [data["pack_id"] for data in world.published.data(PURCHASE)] == ["ZY1"]
    assert sum("can't be recorded" in line for line in lines) == 1


async def test_a_pack_without_a_price_is_counted_and_says_so_in_the_log(world: World) -> None:
    world.buy("ZY1", calls=77)
    with everything_logged() as lines:
        await world.reading.read()
    assert world.metric("phonemeter_wechat_unpriced_packs_total") == 1
    assert any("price unknown" in line for line in lines)
    assert world.metric("phonemeter_wechat_facts_total", fact="purchase") == 1


async def test_nothing_is_told_of_an_app_that_could_not_be_read_whole(world: World) -> None:
    for number in range(45):
        world.buy(f"ZY{number}")
    world.wechat.errors["usage"] = deque([0, 0, 45009])
    with pytest.raises(WechatError):
        await world.reading.read()
    assert world.published.events == []
    await world.reading.read()
    assert len(world.published.of(PURCHASE)) == 45
