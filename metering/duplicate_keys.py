"""Duplicate keys in JSON objects: some parsers take the first of two, some the last.

The decoder silently takes the last. A search for duplicate keys costs more than decoding an event, so colons
are counted, as every key has one. Without more of them than in known keys and texts, no key occurs twice.
"""

import json
from typing import Any, Final, NamedTuple

import msgspec

from metering.events import Authorization
from metering.forbidden_fields import forbidden_field_in, is_forbidden_field

MINIMUM_COLONS: Final = 10
"""Colons of every authorization: of seven keys, of `data.capability`, and two in its time."""

SOURCES_MAX: Final = 1_000
NAMES_MAX: Final = 10
"""Limit of the extension fields of a source: each costs a little at every event."""

_ESCAPED_COLON: Final = b"\\u003"
"""The beginning of an escaped colon; the last digit may be upper or lower case."""

_OPTIONAL: Final = ("scene", "store", "env", "client")
_COUNTED: Final = frozenset(
    ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "data_base64")
) | {"capability", *_OPTIONAL}
_TIME: Final = b'"time":"', b'"time": "'


def may_hide_colons(value: bytes) -> bool:
    """Return whether a colon may be escaped, so that their number proves nothing."""
    return b"\\" in value and _ESCAPED_COLON in value


def minimum_colons(source: str, scene: str, store: str, env: str, content_type: str) -> int:
    """The minimum number of colons of an authorization, without those of its id and its client."""
    named = MINIMUM_COLONS + bool(scene) + bool(store) + bool(env) + bool(content_type)
    return named + f"{source}{scene}{store}{env}{content_type}".count(":")


def has_unique_keys(value: bytes, event: Authorization) -> bool:
    """Return whether the keys of an authorization are plainly unique and none is a forbidden name.

    Otherwise `duplicate_key` and `forbidden_field_in` decide.
    """
    if may_hide_colons(value):
        return False
    unknown = value.count(b":") - _known_colons(event)
    return not unknown or _are_explained(value, event, unknown)


def _known_colons(event: Authorization) -> int:
    data = event.data
    certain = minimum_colons(event.source, data.scene, data.store, data.env, event.datacontenttype)
    return certain + bool(data.client) + event.id.count(":") + data.client.count(":")


class _ExtensionFields(NamedTuple):
    """The fields that a source sends beside the counted ones, as bytes.

    Attributes:
        keys: each with its colon.
        texts: keys whose text has colons too, each with the opening quote of the text.
        zoned: True if its times have a zone with a colon.
        empty: names and keys of counted fields that it sends empty.
    """

    keys: tuple[bytes, ...] = ()
    texts: tuple[bytes, ...] = ()
    zoned: bool = False
    empty: tuple[tuple[str, bytes], ...] = ()

    def joined(self, other: "_ExtensionFields") -> "_ExtensionFields":
        texts = dict.fromkeys(self.texts + other.texts)
        long = {text[: text.rindex(b":") + 1] for text in texts}
        return _ExtensionFields(
            tuple(key for key in dict.fromkeys(self.keys + other.keys) if key not in long)[:NAMES_MAX],
            tuple(texts)[:NAMES_MAX],
            self.zoned or other.zoned,
            tuple(dict.fromkeys(self.empty + other.empty)),
        )


class SourceExtensions:
    """The extension fields of sources, learned from their events.

    A name that is found as a key explains one more colon, whoever sent it. In JSON, `"name":` is always the
    end of a key: within a text the first quote is escaped.
    """

    def __init__(self) -> None:
        self.sources: dict[str, _ExtensionFields] = {}

    def explain(self, value: bytes, event: Authorization) -> bool:
        """Return whether all keys are counted ones or known extension fields of the source, each once."""
        known = _known_colons(event) + self.colons_in(value, event)
        return not may_hide_colons(value) and value.count(b":") == known

    def colons_in(self, value: bytes, event: Authorization) -> int:
        """The minimum number of colons of the known extension fields of the source."""
        fields = self.sources.get(event.source)
        if fields is None:
            return 0
        keys, texts, zoned, empty = fields
        colons = 0
        for key in keys:
            if key in value:
                colons += 1
        for key in texts:
            begin = value.find(key)
            if begin >= 0:
                begin += len(key)
                colons += 1 + value.count(b":", begin, value.find(b'"', begin))
        if zoned:
            colons += _colons_of_zone(value)
        for name, key in empty:
            if key in value and not getattr(event.data, name):
                colons += 1
        return colons

    def learn(self, value: bytes, event: Authorization) -> None:
        """Learn the extension fields of an event's source."""
        if event.source not in self.sources and len(self.sources) >= SOURCES_MAX:
            return
        try:
            fields = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        data = fields["data"]
        learned = _ExtensionFields(
            # A zone may be +00:00.
            zoned=_colons_of_zone(value) > 0,
            empty=tuple((name, b'"%b":' % name.encode()) for name in _OPTIONAL if data.get(name) == ""),
        )
        for known in (
            _extension_fields(value, fields),
            _extension_fields(value, data),
            self.sources.get(event.source),
        ):
            learned = learned.joined(known) if known is not None else learned
        self.sources[event.source] = learned


def _extension_fields(value: bytes, fields: dict[str, Any]) -> _ExtensionFields:
    keys, texts = [], []
    for name, field in fields.items():
        if name in _COUNTED or not name.isidentifier() or is_forbidden_field(name):
            continue
        key = f'"{name}":'.encode()
        if isinstance(field, str) and ":" in field:
            texts += [form for form in (key + b'"', key + b' "') if form in value]
        else:
            keys.append(key)
    return _ExtensionFields(tuple(keys), tuple(texts))


def _colons_of_zone(value: bytes) -> int:
    """The number of colons of the zone of an event's time."""
    for key in _TIME:
        begin = value.find(key)
        if begin >= 0:
            begin += len(key)
            return value.count(b":", begin, value.find(b'"', begin)) - 2
    return 0


def _are_explained(value: bytes, event: Authorization, unknown: int) -> bool:
    """Return whether so many more colons are of empty fields or of other unique keys."""
    data = event.data
    unknown -= _colons_of_zone(value)
    if not unknown:
        return True
    if b"\\" in value:
        # A key may contain escapes.
        return False
    unknown -= bool(getattr(data, "errno", 0))
    for name in _OPTIONAL:
        if unknown and not getattr(data, name):
            unknown -= b'"%b":""' % name.encode() in value
    return not unknown or (b'"data_base64"' not in value and _has_plain_keys(value))


def _has_plain_keys(value: bytes) -> bool:
    """Return whether all colons are those of unique keys, and no key is a forbidden name."""
    return _has_colons_of(value) and forbidden_field_in(value) is None


def _has_colons_of(value: bytes) -> bool:
    try:
        return value.count(b":") == _colons(msgspec.json.decode(value))
    except (msgspec.DecodeError, RecursionError):
        return False


def _colons(decoded: object) -> int:
    if isinstance(decoded, dict):
        texts = [text for text in (*decoded, *decoded.values()) if isinstance(text, str)]
        inner = [one for one in decoded.values() if isinstance(one, dict | list)]
        return len(decoded) + "".join(texts).count(":") + sum(map(_colons, inner))
    if isinstance(decoded, list):
        return sum(map(_colons, decoded))
    return decoded.count(":") if isinstance(decoded, str) else 0


class DuplicateKeyError(ValueError):
    """An object has a duplicate key, which is the message."""


def duplicate_key(value: bytes) -> str | None:
    """A duplicate key in an object of a JSON text; None if there is none, or the text is not JSON.

    Raises:
        RecursionError: the text is nested too deeply.
    """
    if b"\\" not in value and _has_colons_of(value):
        return None
    try:
        json.loads(value, object_pairs_hook=_refuse_doubled, parse_int=str, parse_float=str)
    except DuplicateKeyError as error:
        return str(error)
    except ValueError:
        return None
    return None


def _refuse_doubled(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise DuplicateKeyError(key)
        seen.add(key)
