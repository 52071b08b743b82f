"""Run as a program: the embedded engine with a cluster `two`, of two shards (both are it), and two disks.

It has no Keeper and no port for other servers, so statements ON CLUSTER run once, and replicated tables are
plain ones. Both shards have one table, of which a row policy gives each shard its half, by `shardNum()`. All
else is as between servers: INSERTs are sent to the shard of their lines, each shard aggregates its part of a
query, and the parts are merged.
"""

import re
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from phonemeter.engine import access, native_connection, refusals, server
from phonemeter.engine.__main__ import main
from phonemeter.engine.confinement import Confinement
from phonemeter.engine.native_packets import PacketReader, Query

CLUSTER = """
    <tcp_port>9000</tcp_port>
    <remote_servers><two>
        <shard><internal_replication>true</internal_replication>
            <replica><host>127.0.0.1</host><port>9000</port></replica></shard>
        <shard><internal_replication>true</internal_replication>
            <replica><host>127.0.0.1</host><port>9000</port></replica></shard>
    </two></remote_servers>
</clickhouse>
"""
STORAGE = """
    <storage_configuration>
        <disks><cold><path>{folder}/cold/</path></cold></disks>
        <policies><tiered><volumes>
            <default><disk>default</disk></default>
            <cold><disk>cold</disk></cold>
        </volumes></tiered></policies>
    </storage_configuration>
"""
GRANT = "<query>GRANT REMOTE ON *.*</query></grants>"
HALVES = """
            <databases><phonemeter>
                <ledger_local><filter>shardNum() IN (0, 1 + source_partition % 2)</filter></ledger_local>
                <delivery_states_local>
                    <filter>shardNum() IN (0, 1 + log_partition % 2)</filter>
                </delivery_states_local>
            </phonemeter></databases>
        </default>
    </users>"""

REPLICATED = re.compile(r"ENGINE = Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, (\w+))?\)")
WINDOW = re.compile(r"replicated_deduplication_window = \d+, replicated_deduplication_window_seconds = \d+")


def on_this_engine(text: str) -> str:
    """The statement, with what only servers with Keeper have left out."""
    text = re.sub(r" ON CLUSTER `two`", "", text)
    text = WINDOW.sub("non_replicated_deduplication_window = 1000", text)
    return REPLICATED.sub(lambda found: f"ENGINE = {found[1]}({found[2] or ''})", text)


def configured(folder: Path) -> Path:
    """The engine's configuration with the cluster, in `folder`."""
    config = access.CONFIG.read_text().replace("</clickhouse>\n", STORAGE.format(folder=folder) + CLUSTER)
    users = (access.CONFIG.parent / "users.xml").read_text()
    users = users.replace("</grants>", GRANT).replace("\n        </default>\n    </users>", HALVES)
    (folder / "users.xml").write_text(users)
    (folder / "config.xml").write_text(config)
    return folder / "config.xml"


class Translating(PacketReader):
    """A reader of packets whose queries are those that this engine can run."""

    def query(self) -> Query:
        query = super().query()
        return replace(query, sql=on_this_engine(query.sql))


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        # The engine has no place for another reader of packets, another confinement or more engines.
        vars(native_connection)["PacketReader"] = Translating
        vars(server)["confine"] = lambda _data: Confinement(files=False, connections=False)
        vars(refusals)["ENGINES"] = refusals.ENGINES | {"distributed"}
        vars(access)["CONFIG"] = configured(Path(folder))
        sys.exit(main())
