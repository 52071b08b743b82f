"""The embedded ClickHouse: one process owns a chDB directory and serves it as clickhouse-server would.

Clients speak the native TCP protocol or HTTP to it; what it does not do it refuses in one sentence with a
ClickHouse error code. Start it with ``python -m phonemeter.engine --data DIR`` or :func:`serve`.
``README.md`` in this folder says what is served and refused, why the protocol revision is what it is, and
when this folder goes away.
"""

from phonemeter.engine.config import EngineConfig
from phonemeter.engine.server import serve

__all__ = ["EngineConfig", "serve"]
