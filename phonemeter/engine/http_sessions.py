"""HTTP sessions: what a client keeps between requests when it names a session_id."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from phonemeter.engine.chdb_engine import Engine, Session
from phonemeter.engine.config import DEFAULT_HTTP_SESSION_S, MAX_HTTP_SESSION_S, MAX_HTTP_SESSIONS
from phonemeter.engine.errors import SESSION_LOCKED, SESSION_NOT_FOUND, SYNTAX, TOO_MANY_QUERIES, EngineError


@dataclass(slots=True)
class Kept:
    """A named session: its settings, its temporary tables and when it ends."""

    session: Session
    lock: threading.Lock = field(default_factory=threading.Lock)
    expires_at_s: float = 0.0


class HttpSessions:
    """The named sessions of all HTTP clients."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, params: Mapping[str, str]) -> Iterator[Session]:
        """The session that the request names, or one of its own."""
        name = params.get("session_id", "")
        if not name:
            with contextlib.closing(Session(self._engine)) as session:
                yield session
            return
        lifetime_s = min(number(params, "session_timeout", DEFAULT_HTTP_SESSION_S), MAX_HTTP_SESSION_S)
        kept = self._locked(name, must_exist=params.get("session_check") == "1")
        try:
            yield kept.session
        finally:
            kept.expires_at_s = time.monotonic() + lifetime_s
            kept.lock.release()

    def _locked(self, name: str, *, must_exist: bool) -> Kept:
        """The session of that name, locked; those whose time is over end here."""
        with self._lock:
            for old, kept in list(self._kept.items()):
                if old != name and kept.expires_at_s < time.monotonic() and kept.lock.acquire(blocking=False):
                    self._kept.pop(old).session.close()
            if name not in self._kept:
                self._check_new(name, must_exist=must_exist)
                self._kept[name] = Kept(Session(self._engine))
            kept = self._kept[name]
            if not kept.lock.acquire(blocking=False):
                raise EngineError(
                    SESSION_LOCKED, f"Session {name[:100]!r} is locked by a query that still runs."
                )
            return kept

    def _check_new(self, name: str, *, must_exist: bool) -> None:
        if must_exist:
            raise EngineError(SESSION_NOT_FOUND, f"There is no session {name[:100]!r}.")
        if len(self._kept) >= MAX_HTTP_SESSIONS:
            raise EngineError(
                TOO_MANY_QUERIES, f"{MAX_HTTP_SESSIONS} sessions are open: wait until one expires."
            )


def number(params: Mapping[str, str], name: str, default: float) -> float:
    """A parameter that must be a number."""
    value = params.get(name, "")
    if value and not (value.isascii() and value.isdigit() and len(value) < 10):  # noqa: PLR2004 - nine digits are plenty
        raise EngineError(SYNTAX, f"The parameter {name} is not a number: {value[:50]!r}.")
    return int(value) if value else default
