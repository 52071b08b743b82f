"""Frames of Grafana: what its data sources make of the answers of ClickHouse and Prometheus.

The plugins are written in Go and come with Grafana. What they do with an answer is little: a type for each
column, and for time series a field for each value of the text columns, which become its labels.
"""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from tools.pictures.pages import Json

Column = tuple[str, str]
"""Name and type, as ClickHouse says them."""

Points = dict[float, object]


def table(ref_id: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Json:
    """A frame of a query whose answer is a table."""
    found = _frame(ref_id)
    for n, (name, kind) in enumerate(columns):
        _add(found, {"name": name, "type": _type(kind)}, (_plain(row[n]) for row in rows))
    return found


def wide(ref_id: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Json:
    """A frame of a query for time series."""
    kinds = [_type(kind) for _, kind in columns]
    texts = [n for n, kind in enumerate(kinds) if kind in ("string", "boolean")]
    if not texts:
        return table(ref_id, columns, rows)
    at = kinds.index("time")
    found: dict[tuple[tuple[str, ...], str], Points] = {}
    for row in rows:
        labels = tuple(str(row[n]) for n in texts)
        for n, kind in enumerate(kinds):
            if kind == "number":
                found.setdefault((labels, columns[n][0]), {})[_ms(row[at])] = _plain(row[n])
    times = sorted({time for points in found.values() for time in points})
    frame = _frame(ref_id)
    _add(frame, {"name": columns[at][0], "type": "time"}, times)
    for (labels, name), points in sorted(found.items(), key=lambda one: one[0]):
        of = dict(zip((columns[n][0] for n in texts), labels, strict=True))
        _add(frame, {"name": name, "type": "number", "labels": of}, map(points.get, times))
    return frame


def measured(ref_id: str, legend: str, labels: Json, points: Sequence[tuple[float, float]]) -> Json:
    """A frame of one series of Prometheus; `legend` has its labels in double braces."""
    name = re.sub(r"{{(\w+)}}", lambda label: str(labels.get(label[1], "")), legend)
    frame = _frame(ref_id, name)
    _add(frame, {"name": "Time", "type": "time"}, (at * 1_000 for at, _ in points))
    of = {"labels": labels, "config": {"displayNameFromDS": name}}
    _add(frame, {"name": "Value", "type": "number"} | of, (_plain(value) for _, value in points))
    return frame


def _frame(ref_id: str, name: str = "") -> Json:
    return {"schema": {"refId": ref_id, "name": name or ref_id, "fields": []}, "data": {"values": []}}


def _add(frame: Json, field: Json, values: Iterable[object]) -> None:
    frame["schema"]["fields"].append(field)
    frame["data"]["values"].append(list(values))


def _type(kind: str) -> str:
    """Grafana's type for one of ClickHouse."""
    kind = re.sub(r"^(LowCardinality\(|Nullable\()*", "", kind)
    for beginning, found in (("Date", "time"), ("Bool", "boolean"), (r"U?Int|Float|Decimal", "number")):
        if re.match(beginning, kind):
            return found
    return "string"


def _plain(value: object) -> object:
    """A value as it is in the JSON of a frame."""
    if isinstance(value, date):
        return _ms(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _ms(moment: date) -> float:
    """A moment in milliseconds; those without a zone are UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
