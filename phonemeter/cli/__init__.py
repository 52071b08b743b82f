"""The commands of `phonemeter`. The entry point is small, so Ctrl-C works while the rest is imported."""

import sys

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended."""


def main() -> None:
    """Run the command line. Ctrl-C while it is being loaded ends it silently, as later."""
    try:
        from phonemeter.cli.program import run  # noqa: PLC0415 - takes a while, and Ctrl-C may come meanwhile

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
