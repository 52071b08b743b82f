import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from metering.rating import CapabilityReport, rate
from metering.rules import Rules
from metering.times import SHANGHAI, to_ms
from phonemeter.demo import traffic
from phonemeter.errors import UserError
from producers.events import authorization_succeeded, to_json

START = datetime(2026, 10, 1, 2, tzinfo=UTC)
RULES = Rules(trial_calls=3)


def call(number: int, appid: str = "wxbusy", capability: str = "quick") -> bytes:
    event = authorization_succeeded(
        appid=appid,
        code=f"{appid}-{capability}-{number}",
        capability="realtime" if capability == "realtime" else "quick",
        time=START + timedelta(seconds=number),
    )
    return to_json(event)


def use_of(lines: list[bytes], appid: str, capability: str) -> CapabilityReport:
    use = rate(lines, RULES).apps[appid][capability]
    assert isinstance(use, CapabilityReport)
    return use


def test_only_what_runs_dry_gets_a_pack() -> None:
    lines = [call(n) for n in range(5)] + [call(n, "wxquiet") for n in range(3)]
    _, packs = traffic.with_packs(lines, RULES)
    assert [(pack.appid, pack.capability) for pack in packs] == [("wxbusy", "quick")]


def test_the_pack_stands_before_the_apps_first_line_and_covers_its_calls() -> None:
    quiet = call(0, "wxquiet")
    lines, packs = traffic.with_packs([quiet, *(call(n) for n in range(5))], RULES)
    assert lines[:2] == [quiet, packs[0].event]
    use = use_of(lines, "wxbusy", "quick")
    assert (use.trial_charged, use.charged, use.uncovered) == (3, 2, 0)
    assert use.packs[0].calls == 250
    assert use.amount_micro_yuan == 2 * 30_000


def test_a_call_that_is_late_in_the_file_is_covered_as_well() -> None:
    lines, _ = traffic.with_packs([call(n) for n in (5, 4, 3, 2, 1, 0)], RULES)
    assert use_of(lines, "wxbusy", "quick").uncovered == 0


def test_each_capability_that_runs_dry_gets_its_own_pack() -> None:
    calls = [call(n, capability=capability) for n in range(5) for capability in ("quick", "realtime")]
    lines, packs = traffic.with_packs(calls, RULES)
    assert [pack.capability for pack in packs] == ["quick", "realtime"]
    assert use_of(lines, "wxbusy", "realtime").packs[0].calls == 250


def test_one_pack_is_all_that_is_bought_even_where_it_does_not_suffice() -> None:
    lines, packs = traffic.with_packs([call(n) for n in range(300)], RULES)
    assert len(packs) == 1
    assert use_of(lines, "wxbusy", "quick").uncovered == 300 - 3 - 250


def test_lines_that_are_no_events_stay_where_they_are() -> None:
    lines, _ = traffic.with_packs([b"not json", *(call(n) for n in range(5))], RULES)
    assert lines[0] == b"not json"


def test_a_line_that_is_there_twice_must_be_in_the_log_twice() -> None:
    one, two = call(1), call(2)
    assert traffic.unpublished([one, two, one], [one]) == [two, one]
    assert traffic.unpublished([one, two, one], [one, one, two]) == []


def test_the_simulated_month_is_thirty_shanghai_days_before_today() -> None:
    now = datetime(2026, 11, 22, 1, 30, tzinfo=SHANGHAI)
    lines = traffic.simulated_month(to_ms(now))
    times = [datetime.fromisoformat(msgspec.json.decode(line)["time"]).astimezone(SHANGHAI) for line in lines]
    assert max(times) < datetime(2026, 11, 22, tzinfo=SHANGHAI)
    assert min(times) > datetime(2026, 10, 19, tzinfo=SHANGHAI)
    assert lines == traffic.simulated_month(to_ms(now))


def test_the_simulated_month_runs_some_apps_dry() -> None:
    _, packs = traffic.with_packs(traffic.simulated_month(to_ms(datetime(2026, 11, 22, tzinfo=UTC))), Rules())
    assert packs


def test_a_missing_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing.jsonl can't be read: No such file or directory\."):
        traffic.read_file(tmp_path / "missing.jsonl")


def test_a_file_too_large_for_a_demo_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    with large.open("wb") as file:
        file.truncate(traffic.FILE_BYTES_MAX + 1)
    with pytest.raises(UserError, match="too many for a demo"):
        traffic.read_file(large)


def test_what_a_file_unpacks_to_may_not_be_too_large_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "FILE_BYTES_MAX", 10_000)
    packed = tmp_path / "large.jsonl.gz"
    packed.write_bytes(gzip.compress(b"{}\n" * 5_000))
    with pytest.raises(UserError, match="too many for a demo"):
        traffic.read_file(packed)


def test_a_compressed_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    lines = [call(1), call(2)]
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\n\n".join(lines)))
    assert traffic.read_file(packed) == lines
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"events.jsonl.gz can't be read any further: .*gzip data is broken"):
        traffic.read_file(packed)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    lines = [call(1), call(2)]
    traffic.write_lines(tmp_path / "demo" / "traffic.jsonl", lines)
    assert traffic.read_file(tmp_path / "demo" / "traffic.jsonl") == lines
