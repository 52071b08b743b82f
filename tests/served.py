"""The pages that services serve on loopback: metrics and health."""

import json
import urllib.error
import urllib.request
from typing import Any


def scraped(port: int) -> dict[str, float]:
    """The metrics of a service, by name and labels; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
    except OSError:
        return {}
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def asked(port: int, path: str) -> tuple[int, Any]:
    """The status and the content of a JSON page.

    Raises:
        OSError: nothing answers.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
