"""Where the command `phonemeter` begins: so light that Ctrl-C finds it ready while the rest is imported."""

import sys

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended."""


def main() -> None:
    """Run the command line. Ctrl-C while it is being loaded ends it as later: without a word."""
    try:
        from phonemeter.cli.program import run  # noqa: PLC0415 - takes a while, and Ctrl-C may come meanwhile

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
