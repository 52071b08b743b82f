"""The records that each producer is asked to send, and the outcome that each must have."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

METERED: Final = "metered"
NOTHING: Final = "nothing"
"""The outcome of a record of an aborted transaction."""

WRONG_PARTITION: Final = "wrong_partition"

Want = Literal[
    "metered", "nothing", "too_large", "not_utf8", "not_json", "invalid_field", "key_missing", "key_mismatch"
]
Header = tuple[str, bytes | None]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record.

    Attributes:
        token: what no other record has; it is in the event's id or in the key.
        want: its outcome: metered, nothing, or the reason of its dead letter.
        event: the same as the fields of an event, for SDKs that encode it themselves.
    """

    token: str
    key: bytes | None
    value: bytes | None
    want: Want = METERED
    headers: tuple[Header, ...] = ()
    timestamp_ms: int | None = None
    event: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Records that are sent with the same options.

    Attributes:
        partitioner: `default` is the library's own; `murmur2` what the documentation asks for.
        transaction: whether they are one transaction, and how it ends.
        mode: content mode of the CloudEvents binding, for SDKs.
    """

    name: str
    records: tuple[Record, ...]
    codec: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    partitioner: Literal["default", "murmur2"] = "murmur2"
    idempotent: bool = False
    transaction: Literal["", "commit", "abort"] = ""
    mode: Literal["", "binary", "structured"] = ""

    def to_json(self) -> str:
        """The group as producers in any language read it: one line, bytes in base64."""
        records = [
            {
                "key": _base64(record.key),
                "value": _base64(record.value),
                "headers": [[name, _base64(value)] for name, value in record.headers],
                "timestamp": record.timestamp_ms,
                "event": record.event,
            }
            for record in self.records
        ]
        options = {
            "name": self.name,
            "codec": self.codec,
            "partitioner": self.partitioner,
            "idempotent": self.idempotent,
            "transaction": self.transaction,
            "mode": self.mode,
        }
        return json.dumps({**options, "records": records})


CODECS: Final = ("gzip", "snappy", "lz4", "zstd")


def records_of(client: str, run: str) -> tuple[Group, ...]:
    """The groups for a producer of plain records. `run` makes the names of apps and events new."""
    made = _Maker(client, run)
    plain = made.group("default", made.events(8), partitioner="default")
    return (
        plain,
        made.group("murmur2", made.events(8)),
        *(made.group(codec, made.events(20), codec=codec) for codec in CODECS),
        made.group("idempotent", made.events(8), idempotent=True),
        made.group("commit", made.events(4), transaction="commit", idempotent=True),
        made.group("abort", [replace(one, want=NOTHING) for one in made.events(4)], transaction="abort"),
        # In the partitions of those before: what lies behind an abort is reached.
        made.group("after abort", made.again(4), transaction="commit", idempotent=True),
        made.group("headers", made.with_headers(("trace", b"\x00\xff"), ("empty", b""), ("trace", b"again"))),
        made.group("null header", made.with_headers(("null", None))),
        made.group("letters", made.letters()),
        made.group("large", made.large(900_000, "not too large for a broker")),
        made.group(
            "compressible", made.large(1_600_000, "a broker bounds what it takes compressed"), codec="zstd"
        ),
    )


def cloud_events_of(client: str, run: str) -> tuple[Group, ...]:
    """The groups for an SDK of CloudEvents: both content modes."""
    made = _Maker(client, run)
    return (
        made.group("binary", made.events(6), mode="binary"),
        made.group("structured", made.events(6), mode="structured"),
    )


class _Maker:
    """Events and records of one producer, each with names of its own."""

    def __init__(self, client: str, run: str) -> None:
        self._name = f"{run}-{client}"
        self._count = 0
        self._apps: list[str] = []
        self._time = (datetime.now(UTC) - timedelta(seconds=60)).isoformat(timespec="milliseconds")

    def group(self, name: str, records: Sequence[Record], **options: Any) -> Group:  # noqa: ANN401 - Group's fields
        return Group(name=name, records=tuple(records), **options)

    def events(self, count: int) -> list[Record]:
        """Events of as many new apps, so that every partition gets some."""
        self._apps = [f"wx-{self._token()}" for _ in range(count)]
        return [self._event(app) for app in self._apps]

    def again(self, count: int) -> list[Record]:
        """Events of the apps of the call before."""
        return [self._event(app) for app in self._apps[:count]]

    def with_headers(self, *headers: Header) -> list[Record]:
        """An event that carries what it need not carry: headers, and a time of the producer's own."""
        (record,) = self.events(1)
        return [replace(record, headers=headers, timestamp_ms=1_500_000_000_000)]

    def letters(self) -> list[Record]:
        """Records that are no events."""
        keyless, other, cut = self.events(3)
        return [
            replace(keyless, key=None, want="key_missing"),
            replace(other, key=b"wx-somebody-else", want="key_mismatch"),
            replace(cut, value=(cut.value or b"")[:-1], want="not_json"),
            self._of_bytes(None, "not_json"),
            self._of_bytes(b"", "not_json"),
            self._of_bytes("门店".encode("gbk"), "not_utf8"),
        ]

    def large(self, size: int, text: str) -> list[Record]:
        """An event of so many bytes, which no producer of ours would send."""
        record = self._event(f"wx-{self._token()}")
        fields = {**record.event, "padding": (text * (size // len(text) + 1))[:size]}
        return [replace(record, value=json.dumps(fields).encode(), want="too_large", event={})]

    def _event(self, app: str) -> Record:
        token = self._token()
        event = {
            "specversion": "1.0",
            "id": f"id-{token}",
            "source": f"/matrix/{self._name}",
            "type": "phone.authorization.succeeded",
            "subject": app,
            "time": self._time,
            "datacontenttype": "application/json",
            "data": {"capability": "quick", "scene": "card_claim", "store": "南京西路店"},
        }
        value = json.dumps(event, ensure_ascii=False).encode()
        return Record(token=token, key=app.encode(), value=value, event=event)

    def _of_bytes(self, value: bytes | None, want: Want) -> Record:
        token = self._token()
        return Record(token=token, key=f"wx-{token}".encode(), value=value, want=want)

    def _token(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count}x"


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def all_records(groups: Sequence[Group]) -> Iterator[tuple[Group, Record]]:
    """Every record with its group."""
    for group in groups:
        for record in group.records:
            yield group, record
