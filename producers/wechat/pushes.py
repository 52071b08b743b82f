"""A push, from its bytes to what it says: signature, encryption, XML or JSON. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree as SafeXml
import msgspec
from defusedxml import DefusedXmlException

from producers.wechat.message_crypt import MessageKey, UnreadableMessageError, is_signed

BODY_BYTES_MAX: Final = 65_536
FIELDS_MAX: Final = 100

EVENTS: Final = frozenset(
    {
        "charge_service_quota_notify",
        "charge_mp_service_quota_notify",
        "charge_service_validity_notify",
        "charge_mp_service_validity_notify",
    }
)
"""Names of the events about paid capabilities. Both kinds arrive under the first; `event_type` tells them
apart."""

QUOTA: Final = "3"
VALIDITY: Final = "4"
TICKET: Final = "component_verify_ticket"


class ForgedPushError(Exception):
    """A push that is not signed, or not encrypted, as its receiver's keys require."""


class InvalidPushError(Exception):
    """A push with a body that is no message."""


class SignedQuery(NamedTuple):
    """The parameters of a push's address."""

    signature: str
    timestamp: str
    nonce: str
    message_signature: str

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "SignedQuery":
        """The parameters; what is missing is empty."""
        names = ("signature", "timestamp", "nonce", "msg_signature")
        return cls(*(query.get(name, "")[:128] for name in names))

    @property
    def identity(self) -> str:
        """A text that is another one for each push."""
        return "\n".join((self.timestamp, self.nonce, self.message_signature or self.signature))


class PlatformMessage(NamedTuple):
    """A message's fields that concern us, as texts; empty where it has none."""

    kind: str
    """Name of the event, or of what a third-party platform is told."""

    event_type: str
    appid: str
    spu: str
    total: str
    used: str
    created: str
    ticket: str

    @property
    def is_about_paid_calls(self) -> bool:
        """True if it is one of the events about paid capabilities."""
        return self.kind in EVENTS


def check_address(query: SignedQuery, token: str) -> None:
    """Check the signature of an address, as WeChat makes it when a URL is entered on its page.

    Raises:
        ForgedPushError: it is not signed with the token.
    """
    if not is_signed(query.signature, token, query.timestamp, query.nonce):
        raise ForgedPushError


def read_push(
    body: bytes, query: SignedQuery, token: str, message_key: MessageKey | None, appid: str
) -> PlatformMessage:
    """Read a push in any of WeChat's three modes.

    With a key only what is encrypted counts, also in the compatible mode, which sends both: the signature of
    a plain message does not cover its body. Without one the message is read as it is.

    Raises:
        ForgedPushError: it is not signed with the token, or not encrypted with the key and for the appid.
        InvalidPushError: it is no message.
    """
    if message_key is None:
        check_address(query, token)
        return _message(_fields(body))
    encrypted = _fields(body).get("Encrypt", "")
    if not encrypted or not is_signed(
        query.message_signature, token, query.timestamp, query.nonce, encrypted
    ):
        raise ForgedPushError
    try:
        content = message_key.decrypt(encrypted, appid)
    except UnreadableMessageError:
        raise ForgedPushError from None
    return _message(_fields(content))


def _message(fields: Mapping[str, str]) -> PlatformMessage:
    def field(*names: str) -> str:
        return next((fields[name] for name in names if fields.get(name)), "")

    return PlatformMessage(
        field("Event", "InfoType"),
        field("event_type"),
        field("appid"),
        field("spu_id"),
        field("total_quota"),
        field("total_used_quota"),
        field("CreateTime"),
        field("ComponentVerifyTicket"),
    )


def _fields(body: bytes) -> dict[str, str]:
    """The fields of a flat message; deeper ones are left out."""
    return _json_fields(body) if body.lstrip()[:1] == b"{" else _xml_fields(body)


def _json_fields(body: bytes) -> dict[str, str]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidPushError from None
    if not isinstance(found, dict) or len(found) > FIELDS_MAX:
        raise InvalidPushError
    return {
        name: str(value)
        for name, value in found.items()
        if isinstance(value, str | int) and not isinstance(value, bool)
    }


def _xml_fields(body: bytes) -> dict[str, str]:
    try:
        root = SafeXml.fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise InvalidPushError from None
    if len(root) > FIELDS_MAX:
        raise InvalidPushError
    return {child.tag: (child.text or "").strip() for child in root if len(child) == 0}
