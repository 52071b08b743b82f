"""`phonemeter backup` and `phonemeter restore`: everything that cannot be made again, and back."""

from pathlib import Path
from typing import Annotated, Final

import typer

from metering.topics import EVENTS
from phonemeter.backup.backup_reader import BackupReader
from phonemeter.backup.directory import BackupDirectory
from phonemeter.backup.manifest import Manifest
from phonemeter.backup.restoring import RestoreReport, refuse_partitions, verify_files
from phonemeter.backup.restoring import restore as carry_out
from phonemeter.backup.taking import BackupReport, take_backup
from phonemeter.backup.verification import verify_ledger
from phonemeter.cli.progress_bar import ProgressBar
from phonemeter.errors import UserError
from phonemeter.formats import to_second
from phonemeter.settings import Settings, load
from phonemeter.stack.data_services import data_services
from phonemeter.terminal import Terminal, print_json, say
from phonemeter.topic_reader import RecordSource, open_reader

MEGABYTE: Final = 1_000_000

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory of the backup.", show_default=False)
]
NoVerify = Annotated[
    bool,
    typer.Option("--no-verify", help="Do not meter the events again to compare the ledger."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def backup(
    directory: Directory,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Take none: read the backup that is there and verify it.")
    ] = False,
    no_verify: NoVerify = False,
    as_json: AsJson = False,
) -> None:
    """Take a backup of Kafka's topics and the business database, while everything runs.

    The first one copies everything; a later one into the same directory adds what is new, and one that was
    broken off goes on from where it was. ClickHouse is not in it: it is filled from the ledger. Keys, routes
    and other files that settings name are not in it either, and are listed. At the end the events are read
    back and metered again: they have to give the ledger that is in the backup.

    The exit status is 0 if the backup is whole and verified, 1 if not.
    """
    settings = load()
    place = BackupDirectory(directory)
    report: BackupReport | None = None
    if check and no_verify:
        raise UserError("--check verifies the backup; leave out --no-verify.")
    if check:
        manifest = place.manifest()
    else:
        with data_services(settings, ("kafka",)), _progress("copying") as bar:
            report = take_backup(settings, place, bar.show_part)
        manifest = report.manifest
    entries: int | None = None
    if not no_verify:
        with _progress("reading") as bar:
            verify_files(place, manifest, bar.show_part)
        entries = _verified(settings, BackupReader(place.path, manifest), manifest, of=f"in {place.path}")
    if as_json:
        print_json(_backup_as_json(place, manifest, report, entries))
        return
    say(_backup_sentence(place, manifest, report, entries))
    if manifest.left_out:
        files = ", ".join(f"{path} ({name})" for name, path in sorted(manifest.left_out.items()))
        say(f"Not in it, copy them yourself: {files}.")


def restore(directory: Directory, *, no_verify: NoVerify = False, as_json: AsJson = False) -> None:
    """Put a backup into an empty Kafka and an empty business database.

    Its files are verified before anything is written, and anything that is not empty is refused. Every record
    gets the offset and the time that it had. A restore that was broken off goes on if it is run again. At the
    end the restored events are metered again: they have to give the restored ledger. The sink fills
    ClickHouse when it is started. If the one-machine stack is down, Kafka and ClickHouse are started for the
    restore.

    The exit status is 0 if everything is restored and verified, 1 if not.
    """
    settings = load()
    place = BackupDirectory(directory)
    manifest = place.manifest()
    refuse_partitions(settings, manifest)
    with _progress("reading") as bar:
        verify_files(place, manifest, bar.show_part)
    with data_services(settings, ("kafka", "engine"), for_restore=True):
        with _progress("restoring") as bar:
            done = carry_out(settings, place, manifest, bar.show_part)
        entries: int | None = None
        if not no_verify:
            with open_reader(settings.kafka_access) as reader:
                entries = _verified(settings, reader, manifest, of="that was restored")
    if as_json:
        print_json(
            {
                "directory": str(place.path),
                "as_of_ms": manifest.taken_at_ms,
                "records": done.records,
                "business": done.business,
                "ledger_kept_as": done.ledger_kept_as or None,
                "ledger_lines_checked": entries,
                "took_s": done.took_s,
            }
        )
        return
    say(_restore_sentence(settings, manifest, done, entries))
    if done.ledger_kept_as:
        say(f"ClickHouse had entries that the backup lacks; it keeps that ledger as {done.ledger_kept_as}.")
    say("Start the services: the sink fills ClickHouse, and then phonemeter audit compares everything.")


def _verified(settings: Settings, source: RecordSource, manifest: Manifest, *, of: str) -> int:
    total = manifest.topics[EVENTS].records
    with ProgressBar("metering the log", total, Terminal(stderr=True)) as progress_bar:
        return verify_ledger(source, manifest, settings.rules(), progress_bar.show, of=of)


def _progress(what: str) -> ProgressBar:
    return ProgressBar(what, None, Terminal(stderr=True))


def _backup_as_json(
    place: BackupDirectory, manifest: Manifest, report: BackupReport | None, entries: int | None
) -> dict[str, object]:
    return {
        "directory": str(place.path),
        "number": manifest.number,
        "as_of_ms": manifest.taken_at_ms,
        "records": {name: topic.records for name, topic in manifest.topics.items()},
        "bytes": sum(file.bytes for file in manifest.files),
        "new_records": report.new_records if report is not None else 0,
        "new_bytes": report.new_bytes if report is not None else 0,
        "business": manifest.business is not None,
        "left_out": manifest.left_out,
        "ledger_lines_checked": entries,
        "took_s": report.took_s if report is not None else None,
    }


def _backup_sentence(
    place: BackupDirectory, manifest: Manifest, report: BackupReport | None, entries: int | None
) -> str:
    records = sum(topic.records for topic in manifest.topics.values())
    size = sum(file.bytes for file in manifest.files) / MEGABYTE
    as_of = f"{to_second(manifest.taken_at_ms)} Shanghai time"
    told = f"The backup in {place.path} is as of {as_of}: {records:,} records, {size:,.1f} MB"
    if report is not None:
        told += f", of which {report.new_records:,} records, {report.new_bytes / MEGABYTE:,.1f} MB are new"
    return f"{told}. {_verification(entries)}"


def _restore_sentence(
    settings: Settings, manifest: Manifest, done: RestoreReport, entries: int | None
) -> str:
    restored = f"Kafka at {settings.kafka}"
    if done.business:
        restored += " and the business database"
    return (
        f"{restored} are as of {to_second(manifest.taken_at_ms)} Shanghai time: "
        f"{sum(done.records.values()):,} records in {done.took_s:,.1f} s. {_verification(entries)}"
    )


def _verification(entries: int | None) -> str:
    if entries is None:
        return "Its ledger was not verified."
    return f"Its events give its {entries:,} ledger entries."
