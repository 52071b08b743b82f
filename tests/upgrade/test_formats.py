"""The table of formats, and the refusal of what a newer version wrote: one sentence for each."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from metering import dead_letters
from metering.alerts import Alert
from metering.ledger import FORMAT as LEDGER_FORMAT
from metering.ledger import decode_rows
from metering.stored_formats import NewerFormatError
from metering.topics import ALERTS, DELIVERIES, LEDGER, STATE
from phonemeter.backup import manifest as backup
from phonemeter.business.database import BusinessDatabase
from phonemeter.business.migration import newest
from phonemeter.errors import OperationError, UserError
from producers import openid_store
from sinks.entry_columns import decode
from sinks.errors import PoisonError
from sinks.kafka_consumer import CommitMetadata, decode_metadata
from sinks.migrations import known
from sinks.notifier import records as delivery_records
from streams import state_log
from streams.state_log import StateDamagedError, StateReader, StateRecord
from tests.upgrade.what_0_1_wrote import OPENID_KEY, database, records

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"


def listed() -> dict[str, str]:
    """The versions of the page, by the file in which each is defined."""
    rows = re.findall(
        r"^\| [^|]+ \| ([\w.]+) \| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {file: version for version, file in rows}


def test_the_table_has_the_versions_of_the_code() -> None:
    assert listed() == {
        "metering/event_validation.py": "1.0",
        "metering/ledger.py": str(LEDGER_FORMAT),
        "metering/alerts.py": "1",
        "metering/dead_letters.py": "1",
        "streams/state_log.py": str(state_log.FORMAT),
        "sinks/notifier/records.py": str(delivery_records.FORMAT),
        "sinks/kafka_consumer.py": "1",
        "sinks/migrations/__init__.py": str(len(known())),
        "phonemeter/business/migration.py": newest(),
        "phonemeter/backup/manifest.py": str(backup.FORMAT),
        "producers/openid_store.py": str(openid_store.FORMAT),
    }


def changed(topic: str, **fields: object) -> bytes:
    """The newest record of a topic, as a newer version would write it."""
    return json.dumps({**json.loads(records(topic)[-1].value or b""), **fields}).encode()


def test_a_newer_ledger_record_is_refused_by_sink_and_commands() -> None:
    newer = changed(LEDGER, format=2, rows=[{"of": "another shape"}])
    sentence = "it has format 2, which a newer version wrote; this one reads format 1: start the newer one"
    with pytest.raises(NewerFormatError, match=sentence):
        decode_rows(newer)
    with pytest.raises(PoisonError, match=sentence):
        decode(newer, 0)
    with pytest.raises(ValueError, match="not a ledger record"):
        decode_rows(b"{}")


@pytest.mark.parametrize("change", [{"format": 2}, {"format": 2, "type": "of tomorrow"}])
def test_a_newer_delivery_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(NewerFormatError, match="it has format 2, which a newer version wrote"):
        delivery_records.decode(changed(DELIVERIES, **change))


def test_a_newer_state_is_refused_and_not_rebuilt() -> None:
    reader = StateReader(0)
    for one in records(STATE):
        value = one.value
        if one.key is not None and one.key.startswith(state_log.HEADER_PREFIX) and value is not None:
            header = msgspec.msgpack.decode(value)
            header[5] = state_log.FORMAT + 1
            value = msgspec.msgpack.encode(header)
        reader.add([StateRecord(one.key or b"", value)])
    with pytest.raises(StateDamagedError, match=r"has format 9, which a newer .*: start the newer one$"):
        reader.newest()


def test_unknown_fields_of_alerts_and_dead_letters_are_ignored() -> None:
    alert = msgspec.json.decode(changed(ALERTS, of_tomorrow=1), type=Alert)
    assert alert == msgspec.json.decode(changed(ALERTS), type=Alert)
    letter = json.loads(changed("phone-dead-letters", of_tomorrow=1))
    assert dead_letters.decode(json.dumps(letter).encode()).reason == letter["reason"]


def test_a_newer_commit_counts_as_none() -> None:
    assert decode_metadata("stored", "stored2 1 2 {}") == CommitMetadata()


def test_a_newer_business_database_is_refused(tmp_path: Path) -> None:
    path = database("business", tmp_path / "business.sqlite")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with (
        BusinessDatabase(f"sqlite:///{path}") as opened,
        pytest.raises(OperationError, match=r"is not one of this version .* upgrade to the newest release"),
        opened.begin(),
    ):
        pass


def test_a_newer_file_of_openids_is_refused(tmp_path: Path) -> None:
    path = database("openids", tmp_path / "openids.sqlite")
    path.chmod(0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(openid_store.OpenidStoreError, match=r"another version .* \(format 2\): use that"):
        openid_store.OpenidStore(path, OPENID_KEY, bytes_max=10**8)


def test_a_newer_backup_is_refused() -> None:
    newer = b'{"format": 2, "phonemeter": "9.0"}'
    with pytest.raises(UserError, match=r"has format 2, written by phonemeter 9\.0; this version reads"):
        backup.decode(newer, "it")
