"""Protection against web pages: requests that a browser sends for a page of another origin are refused.

A page may send a POST to any address without a preflight request, and reads the answer if its own host name
resolves to that address (DNS rebinding). On loopback there is no password by default.
"""

import ipaddress
from email.message import Message
from typing import Final
from urllib.parse import urlsplit

from phonemeter.engine.errors import ACCESS_DENIED, EngineError

OWN_SITES: Final = frozenset({"", "none", "same-origin"})
"""Values of Sec-Fetch-Site for clients other than browsers, for typed addresses and for own pages."""


def check_origin(headers: Message, *, has_password: bool) -> None:
    """Raise EngineError 497 for a request of a page of another origin.

    A password of the engine protects against DNS rebinding as well.
    """
    host = headers.get("Host", "")
    if host and not has_password and not _is_local(host):
        raise EngineError(
            ACCESS_DENIED,
            f"Host {host[:100]} is not a name of this machine: ask for 127.0.0.1 or localhost, or give the "
            "engine a password.",
        )
    origin = headers.get("Origin")
    if origin is not None and _netloc(origin) != host.lower():
        raise EngineError(
            ACCESS_DENIED, f"Web pages are not served, and a page of {origin[:100]} asks: use another client."
        )
    if headers.get("Sec-Fetch-Site", "") not in OWN_SITES:
        raise EngineError(
            ACCESS_DENIED, "Web pages are not served, and a page of another origin asks: use another client."
        )


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    """True for an address or localhost, which need no DNS and so cannot be rebound."""
    try:
        name = (urlsplit("//" + host).hostname or "").removesuffix(".")
        if name == "localhost" or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
