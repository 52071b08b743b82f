"""`phonemeter dispute`: the file of a day, for its owner alone, and what there is to say instead of one."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from metering.times import DAY_MS, SHANGHAI_OFFSET_MS, shanghai_date, shanghai_day
from producers.clock import wall_clock_ms
from producers.openid_store import OpenidStore
from tests.phonemeter.cli.calling import Phonemeter

APP = "wxapp1"
BEGIN_MS = (shanghai_day(wall_clock_ms()) - 1) * DAY_MS - SHANGHAI_OFFSET_MS
"""The begin of yesterday in Shanghai."""
DAY = f"{shanghai_date(BEGIN_MS):%Y-%m-%d}"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The settings of a file with three openids, of which two are of yesterday."""
    key, file = Fernet.generate_key().decode(), tmp_path / "openids.sqlite"
    with OpenidStore(file, key, bytes_max=10**8) as store:
        for at_ms, openid in ((0, "first"), (DAY_MS - 1, "last"), (-1, "of-the-day-before")):
            store.add(APP, openid, BEGIN_MS + at_ms, openid)
    return {"PHONEMETER_OPENID_STORE": str(file), "PHONEMETER_OPENID_KEYS": key}


def test_the_file_has_the_calls_of_the_day_and_is_its_owners_alone(
    phonemeter: Phonemeter, environ: dict[str, str], tmp_path: Path
) -> None:
    shown = phonemeter("dispute", APP, "--day", DAY, cwd=tmp_path, **environ)
    assert (shown.returncode, shown.stdout) == (0, "")
    assert shown.stderr == f"2 calls of {APP} on {DAY}, written to {APP}-{DAY}.csv.\n"
    file = tmp_path / f"{APP}-{DAY}.csv"
    begin_s = BEGIN_MS // 1_000
    assert file.read_text() == f"timestamp,openid\n{begin_s},first\n{begin_s + 86_399},last\n"
    assert file.stat().st_mode & 0o777 == 0o600
    again = phonemeter("dispute", APP, "--day", DAY, cwd=tmp_path, **environ)
    assert (again.returncode, "exists" in again.stderr) == (2, True)
    printed = phonemeter("dispute", APP, "--day", DAY, "--out", "-", cwd=tmp_path, **environ)
    assert printed.stdout == file.read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ((APP,), 2, "Name the app and the day"),
        ((APP, "--day", "yesterday"), 2, "--day 'yesterday' is not a day"),
        ((APP, "--day", "2999-01-01"), 2, "The day 2999-01-01 has not ended"),
        ((APP, "--day", "2024-01-01"), 2, "The day 2024-01-01 is too long ago"),
        (("wxapp2", "--day", DAY), 1, f"No openid of app wxapp2 was kept on {DAY}"),
    ],
)
def test_why_there_is_no_file_is_one_sentence(
    phonemeter: Phonemeter,
    environ: dict[str, str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    status: int,
    sentence: str,
) -> None:
    shown = phonemeter("dispute", *arguments, cwd=tmp_path, **environ)
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (status, "", 1)
    assert shown.stderr.startswith(sentence)
    assert list(tmp_path.glob("*.csv")) == []


def test_without_a_store_or_with_a_lost_key_the_sentence_says_what_to_set(
    phonemeter: Phonemeter, environ: dict[str, str], tmp_path: Path
) -> None:
    without = phonemeter("dispute", APP, "--day", DAY, cwd=tmp_path)
    assert (without.returncode, "set PHONEMETER_OPENID_STORE" in without.stderr) == (1, True)
    lost = environ | {"PHONEMETER_OPENID_KEYS": Fernet.generate_key().decode()}
    shown = phonemeter("dispute", APP, "--day", DAY, cwd=tmp_path, **lost)
    assert (shown.returncode, "encrypted with another key" in shown.stderr) == (1, True)


def test_a_new_key_is_one_that_opens_a_store_and_settings_do_not_show_it(
    phonemeter: Phonemeter, tmp_path: Path
) -> None:
    key = phonemeter("dispute", "--new-key", cwd=tmp_path).stdout.strip()
    OpenidStore(tmp_path / "openids", key, bytes_max=10**8).close()
    told = phonemeter("settings", cwd=tmp_path, PHONEMETER_OPENID_KEYS=key)
    assert (told.returncode, key in told.stdout) == (0, False)
