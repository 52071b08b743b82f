"""The ticks on the guide to buying at WeChat itself, in the business database."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select, update

from dashboards.console.buying_guide import StepTick
from dashboards.console.errors import RefusedChangeError
from dashboards.console.members import Actor
from phonemeter.business.audit_trail import note
from phonemeter.business.console_transaction import console_transaction
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.tables import GUIDE_TICKS, OWNER_APPS
from producers.clock import wall_clock_ms


class BusinessGuide:
    """The ticks, as the console's protocol has them."""

    def __init__(self, database: BusinessDatabase) -> None:
        self._database = database

    def ticks(self, owner_id: str, appid: str) -> Mapping[str, StepTick]:
        """The steps that are done."""
        with console_transaction(self._database) as connection:
            return _ticks(connection, owner_id, appid)

    def tick(self, actor: Actor, appid: str, step: str) -> None:
        """Note that a step is done."""
        with console_transaction(self._database) as connection:
            _lock(connection, actor, appid)
            if step in _ticks(connection, actor.owner_id, appid):
                return
            row = {
                "owner_id": actor.owner_id,
                "appid": appid,
                "step": step,
                "who": actor.who,
                "at_ms": wall_clock_ms(),
            }
            connection.execute(insert(GUIDE_TICKS).values(row))
            note(connection, actor, "guide_ticked", f"{appid} {step}")

    def untick(self, actor: Actor, appid: str, step: str) -> None:
        """Note that a step is not done."""
        with console_transaction(self._database) as connection:
            _lock(connection, actor, appid)
            of_step = (
                (GUIDE_TICKS.c.owner_id == actor.owner_id)
                & (GUIDE_TICKS.c.appid == appid)
                & (GUIDE_TICKS.c.step == step)
            )
            if connection.execute(delete(GUIDE_TICKS).where(of_step)).rowcount:
                note(connection, actor, "guide_unticked", f"{appid} {step}")

    def begin_again(self, actor: Actor, appid: str) -> None:
        """Note that no step is done."""
        with console_transaction(self._database) as connection:
            _lock(connection, actor, appid)
            of_app = (GUIDE_TICKS.c.owner_id == actor.owner_id) & (GUIDE_TICKS.c.appid == appid)
            if connection.execute(delete(GUIDE_TICKS).where(of_app)).rowcount:
                note(connection, actor, "guide_begun_again", appid)


def _lock(connection: Connection, actor: Actor, appid: str) -> None:
    """Let changes to an app's ticks come one after the other, by a statement that writes (see `members`).

    Raises:
        RefusedChangeError: the app is not the actor's owner's.
    """
    own = (OWNER_APPS.c.appid == appid) & (OWNER_APPS.c.owner_id == actor.owner_id)
    if not connection.execute(update(OWNER_APPS).where(own).values(appid=OWNER_APPS.c.appid)).rowcount:
        raise RefusedChangeError("not_there")


def _ticks(connection: Connection, owner_id: str, appid: str) -> dict[str, StepTick]:
    columns = GUIDE_TICKS.c
    chosen = select(columns.step, columns.who, columns.at_ms).where(
        columns.owner_id == owner_id, columns.appid == appid
    )
    return {row.step: StepTick(row.who, row.at_ms) for row in connection.execute(chosen)}
