"""HTTP sessions: settings and temporary tables that a client keeps between requests by a session_id."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from phonemeter.engine.chdb_engine import Engine
from phonemeter.engine.config import DEFAULT_HTTP_SESSION_S, MAX_HTTP_SESSION_S, MAX_HTTP_SESSIONS
from phonemeter.engine.errors import SESSION_LOCKED, SESSION_NOT_FOUND, SYNTAX, TOO_MANY_QUERIES, EngineError
from phonemeter.engine.session import Session


@dataclass(slots=True)
class NamedSession:
    """A session with a name, locked while a request uses it."""

    session: Session
    lock: threading.Lock = field(default_factory=threading.Lock)
    expires_at_s: float = 0.0


class HttpSessions:
    """The named sessions of all HTTP clients. A new one replaces the least recently used one at the limit."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, NamedSession] = {}
        """Least recently used first."""
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, params: Mapping[str, str]) -> Iterator[Session]:
        """The session that the request names, or a new one for this request."""
        name = params.get("session_id", "")
        if not name:
            with contextlib.closing(Session(self._engine)) as session:
                yield session
            return
        lifetime_s = min(
            number_parameter(params, "session_timeout", DEFAULT_HTTP_SESSION_S), MAX_HTTP_SESSION_S
        )
        named = self._locked(name, must_exist=params.get("session_check") == "1")
        try:
            yield named.session
        finally:
            if params.get("close_session") == "1":
                with self._lock:
                    self._end(name)
            else:
                named.expires_at_s = time.monotonic() + lifetime_s
                named.lock.release()

    def _locked(self, name: str, *, must_exist: bool) -> NamedSession:
        """The session of that name, locked. Ends the sessions that have expired."""
        with self._lock:
            for old, named in list(self._sessions.items()):
                if (
                    old != name
                    and named.expires_at_s < time.monotonic()
                    and named.lock.acquire(blocking=False)
                ):
                    self._end(old)
            if name not in self._sessions:
                if must_exist:
                    raise EngineError(SESSION_NOT_FOUND, f"There is no session {name[:100]!r}.")
                self._make_room()
                self._sessions[name] = NamedSession(Session(self._engine))
            named = self._sessions[name]
            if not named.lock.acquire(blocking=False):
                raise EngineError(
                    SESSION_LOCKED, f"Session {name[:100]!r} is locked by a query that still runs."
                )
            self._sessions[name] = self._sessions.pop(name)
            return named

    def _make_room(self) -> None:
        if len(self._sessions) < MAX_HTTP_SESSIONS:
            return
        for name, named in self._sessions.items():
            if named.lock.acquire(blocking=False):
                self._end(name)
                return
        raise EngineError(
            TOO_MANY_QUERIES, f"Queries run in {MAX_HTTP_SESSIONS} sessions already: wait until one ends."
        )

    def _end(self, name: str) -> None:
        """End a session that the caller has locked."""
        self._sessions.pop(name).session.close()


def number_parameter(params: Mapping[str, str], name: str, default: float) -> float:
    """The value of a parameter that must be a number."""
    value = params.get(name, "")
    if value and not (value.isascii() and value.isdigit() and len(value) < 10):  # noqa: PLR2004 - nine digits are plenty
        raise EngineError(SYNTAX, f"The parameter {name} is not a number: {value[:50]!r}.")
    return int(value) if value else default
