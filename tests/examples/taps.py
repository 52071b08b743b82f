"""The taps that every example publishes, and the comparison of the ledger with them."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from metering.placement import partition_of

NO_CODE: Final = "A tap without a code was left out: all such taps would be one call."
CALLS: Final = ("charge", "trial_charge", "uncovered", "free", "exempt")

Tap = dict[str, str]


def taps_of(name: str, mode: str, run: str) -> list[Tap]:
    """Taps of several apps, so that several partitions get some; the last one has no code."""
    time = (datetime.now(UTC) - timedelta(seconds=60)).isoformat(timespec="milliseconds")
    taps = [
        {
            "appid": f"wx-{name.lower()}-{mode}-{run}-{letter}",
            "code": f"{name}-{mode}-{run}-码-{letter}",
            "capability": capability,
            "time": time.replace("+00:00", "Z"),
            "scene": "card_claim",
            "store": "南京西路店",
        }
        for letter, capability in zip("abcdef", ("quick", "realtime") * 3, strict=True)
    ]
    return [*taps, {**taps[0], "code": ""}]


def id_of(tap: Tap) -> str:
    """The id by rule 2, worked out here again."""
    return hashlib.sha256(f"{tap['appid']}:{tap['code']}".encode()).hexdigest()


def differences(taps: Iterable[Tap], rows: Sequence[Mapping[str, Any]], partitions: int) -> list[str]:
    """A sentence for each tap that the ledger has otherwise, and for each row that no tap explains."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["appid"]), []).append(row)
    said = []
    for tap in taps:
        if tap["code"]:
            said += _differences(tap, found.pop(tap["appid"], []), partitions)
    return [*said, *(f"{appid}: no tap with a code was of this app" for appid in found)]


def _differences(tap: Tap, rows: Sequence[Mapping[str, Any]], partitions: int) -> list[str]:
    if len(rows) != 1:
        return [f"{tap['appid']}: 1 call was expected, the ledger has {len(rows)}"]
    (row,) = rows
    expected = {
        "capability": tap["capability"],
        "time": tap["time"],
        "scene": tap["scene"],
        "store": tap["store"],
        "source_partition": partition_of(tap["appid"].encode(), partitions),
    }
    said = [
        f"{tap['appid']}: {name} is {row[name]!r} instead of {value!r}"
        for name, value in expected.items()
        if row[name] != value
    ]
    # The ledger keeps the first digits of a SHA-256.
    if not (row["event_id"] and id_of(tap).startswith(row["event_id"])):
        said.append(f"{tap['appid']}: the id {row['event_id']} is not that of rule 2, {id_of(tap)}")
    return said


def lines_of(taps: Iterable[Tap]) -> str:
    """The taps as an example reads them."""
    return "".join(f"{json.dumps(tap, ensure_ascii=False)}\n" for tap in taps)
