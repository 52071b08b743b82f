"""`phonemeter import` as a command: its report, its options, an interruption, and what it needs of memory."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from kafka_access.access import KafkaAccess
from metering.topics import EVENTS
from phonemeter.history.fields import NAMES, TYPES
from phonemeter.topic_reader import open_reader
from tests.conftest import RunningKafka
from tests.phonemeter.cli.calling import Done, Phonemeter
from tests.phonemeter.history.reading import APP, csv_of
from tests.waiting import WITHIN_S, blocking_until

TIME = "2026-05-03T10:05:03+08:00"
GOOD = f"{APP},{TIME},c%d,quick,succeeded"
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "importing.md"
MANY: Final = 150_000
RSS_KIB_MAX: Final = 250_000
"""Less than the 400 MB that the page promises for any number of lines: so many leave half a KiB for each."""

DryRun = Callable[..., Done]


@pytest.fixture
def dry(phonemeter: Phonemeter, tmp_path: Path) -> DryRun:
    """Call a dry run of `phonemeter import` without a stack."""

    def call(*arguments: object) -> Done:
        return phonemeter("import", *arguments, "--dry-run", "--without-ledger", cwd=tmp_path)

    return call


def test_a_dry_run_says_what_would_be_published_and_what_is_wrong(dry: DryRun, tmp_path: Path) -> None:
    file = csv_of(
        tmp_path / "a.csv",
        *(f"{GOOD % number},13812345678,x" for number in (1, 2, 2)),
        f"{APP},2026-06-01T00:00:00+08:00,c3,quick,denied,13812345678,x",
        f"{APP},soon,c4,quick,succeeded,13812345678,x",
        header="appid,time,code,capability,type,phone,note",
    )
    done = dry(file)
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("2026-")]
    assert [row[:4] for row in rows] == [
        ["2026-05", APP, "succeeded", "2"],
        ["2026-06", APP, "denied", "1"],
    ]
    for sentence in (
        "Columns: appid, type, time, code, capability.",
        "Not read: note.",
        "Never read, because of their names: phone.",
        "3 facts to publish, 1 repeated in the files, 1 lines refused",
    ):
        assert sentence in done.stdout
    assert "a.csv, line 6: invalid_field: time: 'soon' is no time" in done.stderr
    assert "13812345678" not in done.stdout + done.stderr


def test_the_report_as_json_has_the_same(dry: DryRun, tmp_path: Path) -> None:
    found = dry(csv_of(tmp_path / "a.csv", GOOD % 1, "x"), "--json").json
    assert found["facts"] == [
        {
            "type": TYPES["succeeded"],
            "appid": APP,
            "month": "2026-05",
            "events": 1,
            "first_at": "2026-05-03T02:05:03.000Z",
            "last_at": "2026-05-03T02:05:03.000Z",
        }
    ]
    assert (found["events"], found["refused"], found["counted_before"]) == (1, 1, None)
    assert found["refused_lines"][0]["line"] == 3
    assert found["files"][0]["ids"] == {"code": 1}


def test_without_kafka_a_dry_run_says_what_it_does_not_know(phonemeter: Phonemeter, tmp_path: Path) -> None:
    file = csv_of(tmp_path / "a.csv", GOOD % 1)
    done = phonemeter("import", file, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "What was counted already is not known: Kafka at 127.0.0.1:1 does not answer" in done.stdout


def test_without_kafka_nothing_is_imported(phonemeter: Phonemeter, tmp_path: Path) -> None:
    file = csv_of(tmp_path / "a.csv", GOOD % 1)
    for options in ([], ["--without-ledger"]):
        done = phonemeter("import", file, *options, cwd=tmp_path, PHONEMETER_PRODUCER_BLOCK_S="0.1")
        assert done.returncode == 1
        assert re.match(r"Kafka .*does not answer.*; start it", done.stderr), done.stderr


def test_refused_lines_are_written_with_their_reasons(dry: DryRun, tmp_path: Path) -> None:
    file = csv_of(tmp_path / "a.csv", *["x"] * 30)
    done = dry(file, "--refused", tmp_path / "refused.jsonl", "--show", "2")
    assert done.stderr.count("a.csv, line ") == 2
    lines = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [(one["line"], one["reason"]) for one in lines] == [(n, "invalid_field") for n in range(2, 32)]
    assert dry(file, "--refused", file).returncode == 2
    assert file.stat().st_size > 0


def test_a_mapping_file_is_overridden_by_options(dry: DryRun, tmp_path: Path) -> None:
    file = csv_of(tmp_path / "a.csv", "2026-05-03 10:05:03,Y,a,b", header="at,ok,shop1,shop2")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        f'zone = "UTC"\n[columns]\ntime = "at"\ntype = "ok"\nstore = "shop1"\n'
        f'[set]\nappid = "{APP}"\ncapability = "quick"\n[values.type]\n"Y" = "succeeded"\n'
    )
    found = dry(file, "--mapping", mapping, "--zone", "+08:00", "--column", "store=shop2", "--json").json
    assert found["facts"][0]["first_at"] == "2026-05-03T02:05:03.000Z"
    assert found["files"][0]["columns"]["store"] == "shop2"
    assert found["files"][0]["unread"] == ["shop1"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("columns = 1", "is no mapping"),
        ("[colums]\na = 'b'", "is no mapping"),
        ("[columns", "is not valid TOML"),
        ("[columns]\nshop = 'a'", "'shop' is no field"),
        ("[columns]\nclient = 'phone'", "'phone' is not read for client"),
        ("[values.type]\nY = 'yes'", "'Y' cannot mean 'yes'"),
        ("zone = 'Mars'", "is no time zone"),
        ("x = '" + "x" * 200_000 + "'", "has more than"),
    ],
)
def test_a_wrong_mapping_file_is_one_sentence(dry: DryRun, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "mapping.toml").write_text(text)
    done = dry(csv_of(tmp_path / "a.csv", GOOD % 1), "--mapping", "mapping.toml")
    assert done.returncode == 2
    assert sentence in done.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--column", "store=shop_no"], "No file has the column 'shop_no', which was given for store"),
        (["--column", "store"], "has no equals sign"),
        (["--set", "shop=x"], "'shop' is no field"),
        (["--delimiter", "x"], "--delimiter: 'x' is none"),
        (["--since", "x"], "--since: 'x' is not a time"),
        (["--since", TIME, "--until", TIME], "is not after"),
        (["--mapping", "nowhere.toml"], "nowhere.toml can't be read"),
        (["nowhere.csv"], "nowhere.csv can't be read"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    dry: DryRun, tmp_path: Path, options: list[str], sentence: str
) -> None:
    done = dry(csv_of(tmp_path / "a.csv", GOOD % 1), *options)
    assert done.returncode == 2
    assert sentence in done.stderr.replace("\n", " ")


def test_the_page_lists_every_field_and_no_other() -> None:
    table = PAGE.read_text(encoding="utf-8").split("| field |")[1].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(NAMES)


def ids_in(kafka: str) -> list[str]:
    """The id of every event in Kafka."""
    with open_reader(KafkaAccess(kafka)) as reader:
        return [
            json.loads(record.value or b"")["id"]
            for partition, span in reader.spans(EVENTS).items()
            for batch in reader.batches(EVENTS, partition, span)
            for record in batch
        ]


def test_an_interrupted_import_says_how_to_go_on_and_every_fact_is_there_then(
    topics: RunningKafka, phonemeter: Phonemeter, tmp_path: Path
) -> None:
    count = 60_000
    file = csv_of(
        tmp_path / "a b.csv",
        *(f"{APP},{1_777_777_777_000 + n // 7},c{n},quick,succeeded" for n in range(count)),
    )
    command = [sys.executable, "-m", "phonemeter", "import", str(file), "--without-ledger", "--show", "3"]
    environ = {
        **os.environ,
        "PHONEMETER_KAFKA": topics.bootstrap,
        "PHONEMETER_PRODUCER_BUFFER_BYTES": "131072",
    }
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    with open_reader(KafkaAccess(topics.bootstrap)) as reader:
        blocking_until(lambda: any(span.end for span in reader.spans(EVENTS).values()))
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 130
    again = shlex.split(told.partition("Go on with: ")[2])
    assert again[:2] == ["phonemeter", "import"]
    assert 0 < len(ids_in(topics.bootstrap)) < count
    done = phonemeter(*again[1:], cwd=tmp_path, PHONEMETER_KAFKA=topics.bootstrap)
    assert done.returncode == 0
    found = ids_in(topics.bootstrap)
    assert len(set(found)) == count
    assert len(found) < count + 1_000


# Not `ru_maxrss`, which counts the memory of the process that started this one.
MEASURED = """
import sys
from phonemeter.cli import main
try:
    main()
finally:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(status["VmHWM"].split()[0], file=sys.stderr)
"""


def measured(*arguments: object) -> tuple[dict[str, Any], int]:
    """The JSON report of a dry run in a process of its own, and its highest memory in KiB."""
    words = ["import", *map(str, arguments), "--dry-run", "--without-ledger", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True, timeout=600
    )
    return json.loads(done.stdout), int(done.stderr.split()[-1])


@pytest.mark.slow
def test_many_lines_need_no_more_memory_than_the_page_says(tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    with file.open("w", encoding="utf-8") as lines:
        lines.write("appid,time,capability,type,store\n")
        for number in range(MANY):
            ms = 1_777_777_777_000 + number * 7_919 % 900_000_000
            lines.write(f"wx{number % 50:016d},{ms},quick,succeeded,store-{number % 40}\n")
    report, rss_kib = measured(file)
    assert (report["events"], report["refused"]) == (MANY, 0)
    assert rss_kib < RSS_KIB_MAX
