"""Damage to a topic, as a failing disk does it: on the real broker's files."""

from pathlib import Path

from tests.conftest import RunningKafka


def damage(kafka: RunningKafka, topic: str, text: bytes = b"", partition: int = 0) -> None:
    """Change a byte of a partition's log on the broker's disk: of a text's last occurrence, or the last."""
    assert kafka.supervised.pid is not None
    properties = Path(f"/proc/{kafka.supervised.pid}/cmdline").read_bytes().split(b"\0")[-2].decode()
    (segment,) = Path(properties).parent.glob(f"data/{topic}-{partition}/*.log")
    log = segment.read_bytes()
    place = log.rindex(text) if text else len(log) - 1
    with segment.open("r+b") as file:
        file.seek(place)
        file.write(bytes([log[place] ^ 0x55]))
