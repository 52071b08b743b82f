"""An app in use when its log begins agrees with the platform from the first observation on (rule 17)."""

from metering.rules import Rules
from metering.times import MINUTE_MS
from phonemeter.agreement.report import read_agreement
from tests.conftest import RunningEngine
from tests.metering.building import APP, at, event, play, purchased, succeeded
from tests.phonemeter.cli.storing import stored


def observed(time_ms: int, used: int, size: int, pack_id: str = "") -> bytes:
    data = {"capability": "quick", "pack_id": pack_id, "used": used, "size": size}
    return event("platform.usage_observed", time_ms, data)


def test_what_was_used_before_the_log_is_no_difference(engine: RunningEngine) -> None:
    begin = at(10)
    log = [
        purchased(begin, "p1", calls=10_000, paid_at=at(1), starts_at=at(1)),
        observed(begin + 1, 1_000, 1_000),
        observed(begin + 1, 6_200, 10_000, "p1"),
        *(succeeded(begin + MINUTE_MS + number) for number in range(100)),
        observed(begin + 2 * MINUTE_MS, 6_302, 10_000, "p1"),
    ]
    url = stored(engine.url("opened"), play(*log, rules=Rules()).entries)
    report = read_agreement(url, APP, None)
    assert [(one.pack_id, one.used, one.charged) for one in report.quotas] == [
        ("", 1_000, 1_000),
        ("p1", 6_302, 6_300),
    ]
    assert [(one.causes, one.effect) for one in report.causes] == [(("lost_callback",), 2)]
