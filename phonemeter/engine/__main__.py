"""`python -m phonemeter.engine`: serve a chDB directory to ClickHouse clients."""

import argparse
import os
import sys
from pathlib import Path

from phonemeter.engine.config import PASSWORD_VARIABLE, EngineConfig
from phonemeter.engine.server import serve


def main() -> int:
    """Read the options, serve, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m phonemeter.engine",
        description="Serve a chDB data directory over the ClickHouse native protocol and HTTP.",
        epilog=f"User default's password is taken from {PASSWORD_VARIABLE}; off loopback it is mandatory.",
    )
    parser.add_argument("--data", type=Path, required=True, help="the data directory, made if missing")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--native-port", type=int, default=9000, help="0 takes a free port (default: %(default)s)"
    )
    parser.add_argument(
        "--http-port", type=int, default=8123, help="0 takes a free port (default: %(default)s)"
    )
    options = parser.parse_args()
    password = os.environ.get(PASSWORD_VARIABLE, "")
    return serve(EngineConfig(options.data, options.host, options.native_port, options.http_port, password))


if __name__ == "__main__":
    sys.exit(main())
