"""WeChat's packs beside the ledger's: none is recorded twice."""

import random

import pytest

from metering.times import DAY_MS, HOUR_MS
from producers.wechat.facts import WechatQuota
from producers.wechat.matching import KnownPack, match

START_MS = 1_700_000_000_000


def quota(
    name: str, *, start_ms: int = START_MS, size: int = 250, days: int = 90, order: str = ""
) -> WechatQuota:
    return WechatQuota("quick", name, order, 0, size, start_ms, start_ms + days * DAY_MS)


def known(
    name: str,
    *,
    start_ms: int = START_MS,
    calls: int = 250,
    days: int = 90,
    order: str = "",
    is_open: bool = True,
) -> KnownPack:
    return KnownPack(name, order, "quick", calls, days, start_ms, is_open)


def test_a_pack_that_nobody_recorded_is_new() -> None:
    found = match([quota("ZY1")], [])
    assert (found.names, [one.pack_id for one in found.new], found.unmatched) == ({}, ["ZY1"], [])


def test_the_same_name_is_the_same_pack_whatever_else_differs() -> None:
    found = match([quota("ZY1")], [known("ZY1", calls=1, days=1, start_ms=0)])
    assert (found.names, found.new, found.unmatched) == ({"ZY1": "ZY1"}, [], [])


@pytest.mark.parametrize("apart_ms", [0, 10 * HOUR_MS, -DAY_MS, DAY_MS])
def test_a_pack_that_was_recorded_under_a_name_of_ones_own_is_joined_by_its_terms(apart_ms: int) -> None:
    found = match([quota("ZY1")], [known("october", start_ms=START_MS + apart_ms)])
    assert (found.names, found.new, found.unmatched) == ({"ZY1": "october"}, [], [])


@pytest.mark.parametrize(
    "other",
    [
        known("october", calls=1_000),
        known("october", days=365),
        known("october", start_ms=START_MS + DAY_MS + 1),
        known("october")._replace(capability="realtime"),
    ],
)
def test_another_size_validity_start_or_capability_is_another_pack(other: KnownPack) -> None:
    found = match([quota("ZY1")], [other])
    assert (found.names, [one.pack_id for one in found.new]) == ({}, ["ZY1"])


def test_the_same_order_is_the_same_pack_however_far_apart_and_another_order_is_not() -> None:
    ordered = known("october", order="DD1", start_ms=0)
    assert match([quota("ZY1", order="DD1")], [ordered]).names == {"ZY1": "october"}
    assert match([quota("ZY1", order="DD2")], [known("october", order="DD1")]).names == {}


def test_two_packs_of_one_day_are_two_and_each_is_joined_at_most_once() -> None:
    theirs = [quota("ZY1"), quota("ZY2", start_ms=START_MS + HOUR_MS)]
    found = match(theirs, [known("mine", start_ms=START_MS + HOUR_MS)])
    assert found.names == {"ZY2": "mine"}
    assert [one.pack_id for one in found.new] == ["ZY1"]


def test_the_order_of_the_rows_does_not_matter() -> None:
    theirs = [quota(f"ZY{number}", start_ms=START_MS + number * HOUR_MS) for number in range(6)]
    mine = [known(f"p{number}", start_ms=START_MS + number * HOUR_MS) for number in range(4)]
    expected = match(theirs, mine).names
    assert len(expected) == 4
    for seed in range(20):
        shuffled = random.Random(seed)  # noqa: S311 - no secret
        assert match(shuffled.sample(theirs, 6), shuffled.sample(mine, 4)).names == expected


def test_a_pack_that_wechat_does_not_have_is_told_while_it_is_open() -> None:
    found = match([quota("")], [known("typed-twice"), known("ended", is_open=False)])
    assert [one.pack_id for one in found.unmatched] == ["typed-twice"]


def test_packs_of_a_capability_that_is_not_read_are_not_missed() -> None:
    assert match([quota("")], [known("other")._replace(capability="realtime")]).unmatched == []


def test_the_trial_quota_is_no_pack() -> None:
    assert match([quota("")], []).new == []
