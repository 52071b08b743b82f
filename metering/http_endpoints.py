"""Endpoints of the HTTP interface: each stage describes its own, and the gateway serves them all.

What is the same everywhere is the gateway's: key, scope, app, rate, request id, log, problem documents.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

HttpMethod = Literal["GET", "POST", "PUT", "DELETE"]
Scope = Literal["emit", "read"]


class Endpoint(NamedTuple):
    """One method of one path.

    Attributes:
        method: of HTTP.
        path: with its parameters in braces, `{name:path}` if it may have slashes; an `{appid}` is only
            reached with a key that is for this app.
        scopes: a key with any of them may use it.
        handler: takes a request and returns a response, both of the web framework. `state.apps` of the
            request are the apps of its key, empty for all. The framework's `HTTPException` with a sentence
            becomes a problem document.
        operation: the operation of the OpenAPI document. The gateway adds what every endpoint may answer.
        is_direct: it is asked very often. `{appid}` is the only parameter of its path, and its handler
            returns the response itself, because it waits for nothing.
    """

    method: HttpMethod
    path: str
    scopes: frozenset[Scope]
    handler: Callable[[Any], Awaitable[Any]] | Callable[[Any], Any]
    operation: Mapping[str, Any]
    is_direct: bool = False


class HttpPart(Protocol):
    """A part of the interface: endpoints, and the work that keeps them answering."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The endpoints; the same for the life of the process."""

    @property
    def schemas(self) -> Mapping[str, Any]:
        """Schemas that its operations refer to as `#/components/schemas/NAME`."""

    def troubles(self) -> Sequence[str]:
        """The troubles of now, each in a sentence."""

    async def run(self) -> None:
        """Do the work, until cancelled."""


def app_not_found(appid: str) -> str:
    """The sentence about an app that is not there, or not for this key: nobody can tell which."""
    return f"There is no app {appid[:64]!r} for this API key."


class HeldEvent(NamedTuple):
    """An authorization that names the hold of its call; `is_success` if it took that call."""

    appid: str
    hold_id: str
    event_id: str
    is_success: bool


class HoldEnder(Protocol):
    """The place where events end holds."""

    async def end_holds(self, events: Sequence[HeldEvent]) -> None:
        """Let events that are about to be sent confirm or release holds. Raises nothing."""
