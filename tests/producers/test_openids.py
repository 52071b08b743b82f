"""Openids for disputes: encrypted, apart from events, for the file's owner alone, gone after 35 days."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from metering.times import HOUR_MS
from producers.client import EventProducer
from producers.clock import wall_clock_ms
from producers.errors import RefusedError
from producers.events import authorization_failed, authorization_succeeded
from producers.openid_keeping import OpenidKeeper, open_store
from producers.openid_store import KEPT_MS, OpenidStore, OpenidStoreError
from producers.settings import ProducerSettings
from tests.conftest import RunningKafka
from tests.producers.test_client import stored
from tests.waiting import WITHIN_S

OPENID = "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
APP = "wxapp1"
NOW_MS = wall_clock_ms()
LARGE = 10_000_000


@pytest.fixture
def key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "openids.sqlite"


def opened(file: Path, key: str, *, bytes_max: int = LARGE, now_ms: int = NOW_MS) -> OpenidStore:
    return OpenidStore(file, key, bytes_max=bytes_max, now_ms=lambda: now_ms)


def all_kept(store: OpenidStore) -> list[str]:
    return [tap.openid for tap in store.kept(APP, 0, 2 * NOW_MS)]


def test_what_was_added_is_read_by_app_and_time_once_each(file: Path, key: str) -> None:
    with opened(file, key) as store:
        for number in (3, 1, 2, 2):
            store.add(APP, f"event-{number}", NOW_MS - number, f"openid-{number}")
        store.add("wxapp2", "event-4", NOW_MS - 1, "openid-4")
        assert all_kept(store) == ["openid-3", "openid-2", "openid-1"]
        assert [tap.openid for tap in store.kept(APP, NOW_MS - 2, NOW_MS - 1)] == ["openid-2"]


def test_the_files_hold_no_openid_and_no_key_and_are_their_owners_alone(file: Path, key: str) -> None:
    with opened(file, key) as store:
        store.add(APP, "event-1", NOW_MS, OPENID)
        files = sorted(file.parent.iterdir())
        assert len(files) == 3
        assert {one.stat().st_mode & 0o777 for one in files} == {0o600}
        held = b"".join(one.read_bytes() for one in files)
    assert OPENID.encode() not in held
    assert key.encode() not in held


def test_a_file_that_others_may_read_is_refused(file: Path, key: str) -> None:
    file.touch()
    file.chmod(0o644)
    with pytest.raises(OpenidStoreError, match="chmod 600"):
        opened(file, key)


def test_openids_are_gone_after_35_days(file: Path, key: str) -> None:
    with opened(file, key) as store:
        store.add(APP, "event-1", NOW_MS, "early")
        store.add(APP, "event-2", NOW_MS + HOUR_MS, "late")
    with opened(file, key, now_ms=NOW_MS + KEPT_MS + 1) as store:
        assert all_kept(store) == ["late"]
        assert store._file.execute("SELECT count() FROM taps").fetchone() == (1,)


def test_a_store_forgets_while_it_is_open(file: Path, key: str) -> None:
    now_ms = NOW_MS
    with OpenidStore(file, key, bytes_max=LARGE, now_ms=lambda: now_ms) as store:
        store.add(APP, "event-1", now_ms, "early")
        now_ms += KEPT_MS + HOUR_MS
        store.add(APP, "event-2", now_ms, "late")
        assert store._file.execute("SELECT count() FROM taps").fetchone() == (1,)


def test_another_key_is_told_in_a_sentence_and_older_keys_still_read(file: Path, key: str) -> None:
    with opened(file, key) as store:
        store.add(APP, "event-1", NOW_MS, "old")
    newer = Fernet.generate_key().decode()
    with pytest.raises(OpenidStoreError, match="encrypted with another key") as refused:
        opened(file, newer)
    assert key not in str(refused.value)
    assert newer not in str(refused.value)
    with opened(file, f"{newer}, {key}") as store:
        store.add(APP, "event-2", NOW_MS + 1, "new")
        assert all_kept(store) == ["old", "new"]
    with opened(file, newer, now_ms=NOW_MS + KEPT_MS + 1) as store:
        assert all_kept(store) == ["new"]
    with pytest.raises(OpenidStoreError, match="is not a key"):
        opened(file, "secret")


def test_a_full_file_takes_no_more_and_room_comes_back_with_time(file: Path, key: str) -> None:
    def fill(store: OpenidStore) -> None:
        for number in range(2_000):
            store.add(APP, f"event-{number}", NOW_MS, OPENID)

    with opened(file, key, bytes_max=60_000) as store, pytest.raises(OpenidStoreError, match="has reached"):
        fill(store)
    assert file.stat().st_size < 100_000
    with opened(file, key, bytes_max=60_000, now_ms=NOW_MS + KEPT_MS + 1) as store:
        store.add(APP, "event-1", NOW_MS + KEPT_MS, OPENID)
        assert all_kept(store) == [OPENID]


@pytest.mark.parametrize("text", ["", "o" * 129, "a,b", "a\nb", "a b", "手机"])
def test_a_text_that_is_no_openid_is_not_kept_nor_repeated(file: Path, key: str, text: str) -> None:
    with opened(file, key) as store:
        with pytest.raises(OpenidStoreError, match="is not kept") as refused:
            store.add(APP, "event-1", NOW_MS, text)
        assert all_kept(store) == []
    assert not text or text not in str(refused.value)


def test_a_file_that_is_no_store_is_told_in_a_sentence(file: Path, key: str) -> None:
    file.touch(mode=0o600)
    file.write_bytes(b"no database" * 1_000)
    with pytest.raises(OpenidStoreError, match="can't be used"):
        opened(file, key)
    with pytest.raises(OpenidStoreError, match="can't be opened"):
        opened(file.parent / "nowhere" / "file", key)


WRITER = """
import sys
from pathlib import Path
from producers.openid_store import OpenidStore
with OpenidStore(Path(sys.argv[1]), sys.argv[2], bytes_max=10**8) as store:
    for number in range(200):
        store.add("wxapp1", f"{sys.argv[3]}-{number}", int(sys.argv[4]), f"openid-{sys.argv[3]}-{number}")
"""


def test_threads_and_processes_write_to_one_file(file: Path, key: str) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(file), key, f"process-{n}", str(NOW_MS)])
        for n in range(2)
    ]
    with opened(file, key) as store:

        def write(thread: int) -> None:
            for number in range(200):
                store.add(APP, f"thread-{thread}-{number}", NOW_MS, f"openid-{thread}-{number}")

        with ThreadPoolExecutor(3) as threads:
            list(threads.map(write, range(3)))
        assert [writer.wait(WITHIN_S) for writer in writers] == [0, 0]
        assert len(set(all_kept(store))) == 5 * 200


@pytest.fixture
def settings(topics: RunningKafka, file: Path, key: str) -> ProducerSettings:
    return ProducerSettings(kafka=topics.bootstrap, openid_store=file, openid_keys=key)


def tap(code: str) -> dict[str, object]:
    return authorization_succeeded(appid=APP, code=code, capability="quick", time=datetime.now(UTC))


def test_a_producer_keeps_the_openids_of_calls_and_sends_none(settings: ProducerSettings) -> None:
    failed = authorization_failed(appid=APP, capability="quick", time=datetime.now(UTC), errno=5)
    with EventProducer(settings) as producer:
        producer.publish(tap("code-openid"), openid=OPENID).result()
        producer.publish(tap("code-openid"), openid=OPENID).result()
        producer.publish(failed, openid="of-no-call").result()
        producer.publish(tap("code-without")).result()
    with open_store(settings) as store:
        assert set(all_kept(store)) == {OPENID}
    assert OPENID.encode() not in b"".join(
        key + value for records in stored(settings.kafka).values() for key, value in records
    )


def test_an_event_with_an_openid_is_refused_all_the_same(settings: ProducerSettings) -> None:
    with EventProducer(settings) as producer, pytest.raises(RefusedError):
        producer.publish(tap("code-refused") | {"openid": OPENID}, openid=OPENID)
    assert not (settings.openid_store or Path()).exists()


def test_a_call_is_published_though_its_openid_can_not_be_kept(
    settings: ProducerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = settings.model_copy(update={"openid_keys": "wrong"})
    with EventProducer(wrong) as producer, caplog.at_level(logging.WARNING):
        producer.publish(tap("code-kept-1"), openid=OPENID).result()
        producer.publish(tap("code-kept-2"), openid=OPENID).result()
        assert producer._openids.not_kept == 2
    assert caplog.text.count("was not kept") == 1
    assert OPENID not in caplog.text


def test_without_the_setting_nothing_is_kept(tmp_path: Path) -> None:
    keeper = OpenidKeeper(ProducerSettings())
    keeper.keep(None, OPENID)  # type: ignore[arg-type]  # it is not looked at
    keeper.close()
    assert list(tmp_path.iterdir()) == []
