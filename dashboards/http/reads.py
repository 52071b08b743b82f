"""Each read from its question to its answer and tag; what is blocking runs in the pool."""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, cast

import msgspec
from msgspec import Struct

from dashboards.http.answers import AppAnswer, AppsPage
from dashboards.http.app_reads import READERS, AppQuestion
from dashboards.http.cursors import read_cursor, write_cursor
from dashboards.http.errors import NothingFoundError
from dashboards.http.event_answer import EventAnswer, EventStory
from dashboards.http.events import EventExplainer, StoredEvents, event_not_found, story_of
from dashboards.http.parameters import AppsParameters, EventParameters
from dashboards.http.pool import ReadPool
from dashboards.http.tags import Standing, is_known, read_standing, tag_of, written
from dashboards.reads.apps import read_apps
from dashboards.reads.asking import Ask
from dashboards.reads.clock import read_clock
from dashboards.reads.outlooks import read_outlooks
from metering.http_endpoints import app_not_found
from metering.times import format_time

_PAGE: Final = frozenset({"cursor", "limit"})

_encoder = msgspec.json.Encoder()


class Question(NamedTuple):
    """A question over HTTP.

    Attributes:
        name: of the read.
        apps: of the key; empty for all.
        texts: the parameters as they came, sorted.
        tags: of the answers that the client has.
        complete_until: everything that had arrived by then is stored, as far as is known.
        is_fresh: whether that is recent.
    """

    name: str
    apps: tuple[str, ...]
    given: Struct
    texts: tuple[tuple[str, str], ...] = ()
    appid: str = ""
    event_id: str = ""
    tags: tuple[str, ...] = ()
    complete_until: str | None = None
    is_fresh: bool = True

    @property
    def list_of(self) -> object:
        """The question that a cursor of the answer belongs to."""
        return self.name, self.appid, sorted(self.apps), [one for one in self.texts if one[0] not in _PAGE]


class Answered(NamedTuple):
    """An answer with its tag, which may be empty; no body if the client has the same already."""

    body: bytes | None
    tag: str


class Reads:
    """All reads."""

    def __init__(self, pool: ReadPool, events: StoredEvents, explainer: EventExplainer) -> None:
        self._pool = pool
        self._events = events
        self._explainer = explainer

    async def answer(self, question: Question) -> Answered:
        """Answer a question.

        Raises:
            PoolFullError: too many reads are under way.
            ExplainingBusyError: another event is being explained.
            TooLongError, TooMuchError: time or bytes do not suffice.
            LedgerAwayError: ClickHouse does not answer.
            NothingFoundError: there is no such thing for this key.
            WrongParameterError: the cursor or a parameter does not fit.
        """
        if question.name == "event":
            return await self._event(question)
        reads: dict[str, Callable[[Ask, Question], Answered]] = {"apps": _apps, "app": _app}
        return await self._pool.run(lambda ask: reads.get(question.name, _of_app)(ask, question))

    async def _event(self, question: Question) -> Answered:
        asked = cast("EventParameters", question.given)
        if asked.app is not None and question.apps and asked.app not in question.apps:
            raise NothingFoundError(event_not_found(question.event_id))
        apps = question.apps if asked.app is None else (asked.app,)
        found = await self._pool.run(partial(self._found, question.event_id, apps))
        standing = found.standing
        rests_on = (found.story.appid, question.event_id, standing.lines, standing.sums, question.is_fresh)
        tag = tag_of("event", asked.explain, rests_on)
        if is_known(tag, question.tags, standing.now_ms):
            return Answered(None, written(tag))
        story = found.story
        if asked.explain:
            story = story_of(await self._explainer.explain(story.appid, question.event_id))
        answer = EventAnswer(
            **msgspec.structs.asdict(story),
            as_of=format_time(standing.now_ms),
            runs_on=standing.runs_on,
            complete_until=question.complete_until,
            explained=asked.explain,
        )
        return Answered(_encoder.encode(answer), written(tag))

    def _found(self, event_id: str, apps: tuple[str, ...], ask: Ask) -> "_FoundEvent":
        appid = self._events.owner(ask, event_id, apps)
        return _FoundEvent(self._events.story(ask, appid, event_id), read_standing(ask, appid))


class _FoundEvent(NamedTuple):
    story: EventStory
    standing: Standing


def _of_app(ask: Ask, question: Question) -> Answered:
    """A read that the app's entries and the clock decide."""
    standing = read_standing(ask, question.appid)
    if not standing.lines:
        raise NothingFoundError(app_not_found(question.appid))
    rests_on = (question.appid, standing.lines, standing.sums, standing.runs_on, question.is_fresh)
    tag = tag_of(question.name, question.texts, rests_on)
    held = next((one for one in question.tags if is_known(tag, [one], standing.now_ms)), None)
    if held is not None:
        return Answered(None, f'W/"{held}"')
    asked = AppQuestion(question.appid, question.given, question.list_of, standing, question.complete_until)
    found = READERS[question.name](ask, asked)
    return Answered(
        _encoder.encode(found.answer), "" if found.changes_ms == 0 else written(tag, found.changes_ms)
    )


def _apps(ask: Ask, question: Question) -> Answered:
    given = cast("AppsParameters", question.given)
    after = "" if given.cursor is None else read_cursor(question.list_of, given.cursor, tuple[str])[0]
    clock = read_clock(ask)
    found = read_apps(ask, question.apps, search=given.search, after=after, most=given.limit + 1)
    answer = AppsPage(
        as_of=format_time(clock.now_ms),
        runs_on=clock.runs_on,
        complete_until=question.complete_until,
        apps=found[: given.limit],
        next=(
            write_cursor(question.list_of, (found[given.limit - 1].appid,))
            if len(found) > given.limit
            else None
        ),
    )
    return _tagged(answer, question)


def _app(ask: Ask, question: Question) -> Answered:
    found = read_outlooks(ask, (question.appid,))
    if not found.apps:
        raise NothingFoundError(app_not_found(question.appid))
    (app,) = found.apps
    answer = AppAnswer(
        **msgspec.structs.asdict(app),
        as_of=found.as_of,
        runs_on=found.runs_on,
        complete_until=question.complete_until,
    )
    return _tagged(answer, question)


def _tagged(answer: AppsPage | AppAnswer, question: Question) -> Answered:
    """An answer that rests on more than one app's entries: its content without its time is what counts."""
    timeless = msgspec.structs.replace(answer, as_of="", complete_until=None)
    tag = tag_of(_encoder.encode(timeless).decode(), question.is_fresh)
    return Answered(None if tag in question.tags else _encoder.encode(answer), written(tag))
