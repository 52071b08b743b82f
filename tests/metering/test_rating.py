"""Rating a file offline: the accounts as `phonemeter rate` prints them."""

import msgspec
import pytest

from metering import rating
from metering.ledger import Entry
from metering.rating import CapabilityReport, RejectedLine, rate
from metering.rules import Rules
from metering.times import EARLIEST_MS, LATEST_MS
from tests.metering.building import (
    APP,
    NO_TRIAL,
    at,
    denied,
    failed,
    pack_of,
    play,
    purchased,
    refunded,
    registered,
    succeeded,
    ticked,
    trial_of,
    use_of,
)


def test_an_empty_file_has_no_apps() -> None:
    assert msgspec.to_builtins(rate([], Rules())) == {"apps": {}, "rejected": 0}


def test_the_figures_have_the_agreed_names() -> None:
    lines = [purchased(at(0), "pack-1", calls=3, price=10), succeeded(at(1)), succeeded(at(1))]
    nothing = dict.fromkeys((name for name in CapabilityReport.__struct_fields__ if name != "packs"), 0)
    assert " ".join(nothing) == (
        "succeeded charged trial_charged free exempt uncovered denied failed duplicates corrected "
        "amount_micro_yuan"
    )
    assert msgspec.to_builtins(rate(lines, Rules(trial_calls=1))) == {
        "apps": {
            APP: {
                "trial": {"size": 1, "remaining": 0, "used_before": 0},
                "quick": nothing
                | {
                    "succeeded": 2,
                    "charged": 1,
                    "trial_charged": 1,
                    "amount_micro_yuan": 3,
                    "packs": [
                        {
                            "pack_id": "pack-1",
                            "calls": 3,
                            "remaining": 2,
                            "lapsed": 0,
                            "status": "active",
                            "starts_at": "2023-08-25T16:00:00.000Z",
                            "expires_at": "2023-11-23T16:00:00.000Z",
                            "amount_micro_yuan": 3,
                            "used_before": 0,
                        }
                    ],
                },
                "realtime": nothing | {"packs": []},
            }
        },
        "rejected": 0,
    }


def test_alerts_and_recoveries_are_passed_on_also_those_of_time_that_passes() -> None:
    told: list[Entry] = []
    lines = [failed(at(0)), purchased(at(0, ms=1), "a", days=20)]
    rate(lines, NO_TRIAL, at_ms=at(6), on_alert=told.append)
    assert [(entry.kind, entry.reason) for entry in told] == [
        ("alert", "refused"),
        ("recovery", "refused"),
        ("alert", "expiry"),
    ]


def test_blank_lines_are_passed_over() -> None:
    assert rate([b"", b"\n", b" \r\n", succeeded(at(1)) + b"\r\n"], NO_TRIAL).rejected == 0


def test_rejected_lines_are_counted_and_told_with_their_number() -> None:
    told: list[RejectedLine] = []
    lines = [b"{\n", b"\n", succeeded(at(1)), b"[]\n"]
    assert rate(lines, NO_TRIAL, on_rejected=told.append).rejected == 2
    assert [(line.number, line.reason) for line in told] == [(1, "not_json"), (4, "invalid_field")]
    assert told[1].sentence == "Expected `object`, got `array`."


def test_the_numbers_of_rejected_lines_count_on_from_batch_to_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rating, "BATCH_RECORDS", 3)
    told: list[RejectedLine] = []
    rate([succeeded(at(1))] * 7 + [b"\n", b"{"], NO_TRIAL, on_rejected=told.append)
    assert [line.number for line in told] == [9]


def test_the_size_of_a_batch_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [purchased(at(0), "pack-1"), *[succeeded(at(day)) for day in range(100)]]
    whole = rate(lines, NO_TRIAL)
    monkeypatch.setattr(rating, "BATCH_RECORDS", 1)
    assert rate(lines, NO_TRIAL) == whole


def test_every_status_of_a_pack_is_told() -> None:
    lines = [
        purchased(at(0), "lapsed", days=1),
        purchased(at(0), "exhausted", calls=1, days=50),
        purchased(at(0), "refunded"),
        purchased(at(0), "pending", starts_at=at(20)),
        purchased(at(0), "active", days=90),
        succeeded(at(2)),
        refunded(at(3), "refunded"),
    ]
    statuses = {pack.pack_id: pack.status for pack in use_of(rate(lines, NO_TRIAL)).packs}
    assert statuses == {name: name for name in statuses}
    assert len(statuses) == 5


@pytest.mark.parametrize(
    ("ms", "status"),
    [
        (at(5, ms=-1), "pending"),
        (at(5), "active"),
        (at(10), "active"),
        (at(11, ms=-1), "active"),
        (at(11), "lapsed"),
    ],
)
def test_as_of_a_time_packs_have_started_and_lapsed_by_then(ms: int, status: str) -> None:
    lines = [purchased(at(0), "pack-1", days=5, starts_at=at(5)), denied(at(50))]
    assert pack_of(rate(lines, NO_TRIAL, at_ms=ms), "pack-1").status == status


def test_as_of_a_time_what_happened_later_is_left_out_and_that_moment_itself_is_not() -> None:
    lines = [purchased(at(0), "pack-1"), *[succeeded(at(1, ms=ms)) for ms in (-1, 0, 1)], b"{"]
    rating_then = rate(lines, NO_TRIAL, at_ms=at(1))
    assert (use_of(rating_then).succeeded, rating_then.rejected) == (2, 1)


def test_as_of_a_time_the_order_of_the_log_stays() -> None:
    """A purchase that was recorded later counts if it happened before."""
    lines = [succeeded(at(5)), succeeded(at(1)), purchased(at(0), "pack-1")]
    assert use_of(rate(lines, NO_TRIAL, at_ms=at(2))).charged == 1


@pytest.mark.parametrize("line", [b"[" * 30_000, b'{"time":' + b"[" * 30_000, b"\xff", b'{"time":7}', b"{}"])
def test_as_of_a_time_what_has_none_is_rejected_like_without(line: bytes) -> None:
    assert rate([line], NO_TRIAL, at_ms=at(0)).rejected == 1


def test_as_of_a_time_an_event_nested_too_deeply_is_rejected_like_without() -> None:
    line = succeeded(at(-1))[:-1] + b', "more": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    assert rate([line], NO_TRIAL, at_ms=at(0)).rejected == 1


@pytest.mark.parametrize("at_ms", [EARLIEST_MS - 1, LATEST_MS + 1, 0])
def test_accounts_as_of_a_time_that_no_event_can_have_are_an_error(at_ms: int) -> None:
    with pytest.raises(ValueError, match="the times that events may have"):
        rate([], NO_TRIAL, at_ms=at_ms)


def test_without_a_time_the_accounts_are_as_of_the_last_event_of_each_app() -> None:
    lines = [
        purchased(at(0), "pack-1", days=5),
        purchased(at(0), "pack-1", days=5, app="wx-other"),
        denied(at(20)),
    ]
    after = rate(lines, NO_TRIAL)
    assert pack_of(after, "pack-1").status == "lapsed"
    assert pack_of(after, "pack-1", app="wx-other").status == "active"


def test_clock_ticks_in_the_file_hold_for_all_apps() -> None:
    lines = [purchased(at(0), "pack-1", days=5), ticked(at(20))]
    assert pack_of(rate(lines, NO_TRIAL), "pack-1").status == "lapsed"


def test_an_app_that_was_only_registered_has_its_trial_quota() -> None:
    assert trial_of(rate([registered(at(0), "company")], Rules())).remaining == 1_000


def test_an_app_first_seen_through_a_refund_is_an_app_like_any_other() -> None:
    rated = rate([refunded(at(0), "pack-0"), purchased(at(1), "pack-1"), succeeded(at(2))], NO_TRIAL)
    assert (use_of(rated).charged, pack_of(rated, "pack-1").status) == (1, "active")


def test_a_retried_event_of_any_type_is_counted_as_a_duplicate_where_it_has_a_capability() -> None:
    lines = [purchased(at(0), "pack-1", event_id="one"), purchased(at(0), "pack-1", event_id="one")]
    assert use_of(rate(lines, NO_TRIAL)).duplicates == 1
    refund = refunded(at(1), "pack-1")
    assert use_of(rate([*lines[:1], refund, refund], NO_TRIAL)).duplicates == 0


def test_apps_are_listed_in_the_order_of_their_ids() -> None:
    lines = [succeeded(at(1), app=app) for app in ("wx-b", "wx-a", "wx-c")]
    assert list(rate(lines, NO_TRIAL).apps) == ["wx-a", "wx-b", "wx-c"]


def test_packs_are_listed_in_burn_order_whatever_became_of_them() -> None:
    lines = [
        purchased(at(0), "third", days=90),
        purchased(at(0), "first", days=1),
        purchased(at(0), "second", calls=1, days=50),
        succeeded(at(3)),
    ]
    assert [pack.pack_id for pack in use_of(rate(lines, NO_TRIAL)).packs] == ["first", "second", "third"]


def test_the_ledger_says_what_the_rating_says() -> None:
    lines = [purchased(at(0), "pack-1", calls=2), *[succeeded(at(day)) for day in (1, 2, 3)]]
    played = play(*lines)
    assert use_of(rate(lines, NO_TRIAL)).amount_micro_yuan == sum(
        entry.amount_micro_yuan for entry in played.of("charge")
    )


def test_a_month_that_is_sent_twice_counts_once() -> None:
    month = [succeeded(at(day)) for day in range(1, 31)]
    use = use_of(rate([*month, *month], NO_TRIAL))
    assert (use.succeeded, use.duplicates) == (30, 30)
