"""Times of files: what they say without a doubt is read, anything else refused with the reason."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from metering.times import to_ms
from phonemeter.errors import UserError
from phonemeter.history.moments import Moments, parse_zone

WANTED_MS = to_ms(datetime(2026, 5, 3, 2, 5, 3, tzinfo=UTC))


def in_shanghai(form: str | None = None) -> Moments:
    return Moments(parse_zone("Asia/Shanghai"), form)


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-03T02:05:03Z",
        "2026-05-03 10:05:03+08:00",
        "2026-05-03T10:05:03+0800",
        "1777773903",
        "1777773903000",
        "1777773903000000",
        "1777773903000000000",
        1_777_773_903,
        1_777_773_903_000,
        1_777_773_903.0,
        Decimal(1_777_773_903),
        datetime(2026, 5, 3, 2, 5, 3, tzinfo=UTC),
    ],
)
def test_a_time_with_a_zone_or_a_number_since_1970_needs_no_option(value: object) -> None:
    assert Moments(None).read(value) == WANTED_MS


@pytest.mark.parametrize(
    "value",
    [
        "2026-05-03 10:05:03",
        "2026/5/3 10:05:03",
        "2026.05.03 10:05:03",
        "2026年5月3日 10:05:03",
        "20260503100503",
        datetime(2026, 5, 3, 10, 5, 3),  # noqa: DTZ001 - as Parquet has it
    ],
)
def test_a_time_without_a_zone_is_read_in_the_zone_that_is_given_and_refused_without(value: object) -> None:
    assert in_shanghai().read(value) == WANTED_MS
    with pytest.raises(ValueError, match="has no time zone; say which one is meant"):
        Moments(None).read(value)


def test_parts_of_a_second_are_kept_to_the_millisecond() -> None:
    assert in_shanghai().read("2026-05-03 10:05:03.1239") == WANTED_MS + 123
    assert Moments(None).read("1777773903.123") == WANTED_MS + 123
    assert Moments(None).read(Decimal("1777773903.123")) == WANTED_MS + 123


def test_the_seconds_may_be_left_out() -> None:
    assert in_shanghai().read("2026/5/3 10:05") == WANTED_MS - 3_000


def test_a_form_reads_times_that_are_written_otherwise() -> None:
    assert in_shanghai("%d.%m.%Y %H:%M:%S").read("03.05.2026 10:05:03") == WANTED_MS
    assert Moments(None, "%d/%m/%Y %H:%M:%S %z").read("03/05/2026 10:05:03 +0800") == WANTED_MS
    with pytest.raises(ValueError, match="does not have the form '%d'"):
        in_shanghai("%d").read("2026-05-03")
    with pytest.raises(ValueError, match="has no time zone"):
        Moments(None, "%d.%m.%Y %H:%M:%S").read("03.05.2026 10:05:03")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("2026-05-03", "is no time"),
        (date(2026, 5, 3), "a day without a time of day"),
        ("03.05.2026 10:05", "is no time"),
        ("2026-02-30 10:05:03", "no time that exists"),
        ("2026-05-03 25:05:03", "no time that exists"),
        ("20261303100503", "does not have the form"),
        ("yesterday", "is no time"),
        ("", "is no time"),
        (45_000, "seconds"),
        ("177777390", "is no time"),
        (True, "is no time"),
        (Decimal("1E+99999999"), "is no time"),
        (Decimal("NaN"), "is no time"),
        (float("inf"), "is no time"),
        ([1], "is no time"),
    ],
)
def test_anything_else_is_refused_with_the_reason(value: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        in_shanghai().read(value)


@pytest.mark.parametrize("time", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"])
def test_a_time_that_the_change_of_clocks_makes_ambiguous_or_skips_is_refused(time: str) -> None:
    berlin = Moments(parse_zone("Europe/Berlin"))
    with pytest.raises(ValueError, match="twice or not at all"):
        berlin.read(time)
    assert berlin.read("2026-05-03 04:05:03") == WANTED_MS


@pytest.mark.parametrize("zone", ["UTC", "Z", "+00:00", "-0000"])
def test_a_zone_is_a_name_or_an_offset(zone: str) -> None:
    assert Moments(parse_zone(zone)).read("2026-05-03 02:05:03") == WANTED_MS


@pytest.mark.parametrize("zone", ["Shanghai", "", "../etc/passwd", "+25:00", "/etc/passwd", "+8"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(UserError, match="no time zone that is known"):
        parse_zone(zone)
