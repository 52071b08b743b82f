"""Damaged records in a topic, whose bytes are not those that were published, and the remedy."""

from metering.topics import ALERTS, DEAD_LETTERS, EVENTS, LEDGER, STATE


def damage(topic: str, partition: int, offset: int) -> str:
    """The description of damage with its place and its remedy, in sentences."""
    return (
        f"{topic} partition {partition} is damaged at offset {offset}: its bytes there are not those that "
        f"were published (the checksum is wrong), as after a failure of the disk. {way_out(topic)}"
    )


def way_out(topic: str) -> str:
    """The remedy for a damaged topic, in sentences."""
    if topic in {LEDGER, ALERTS, DEAD_LETTERS}:
        return (
            f"What it said can be had again from {EVENTS}: stop worker and sink, and run `phonemeter replay "
            f"--confirm --new-ledger`."
        )
    if topic == STATE:
        return (
            f"What it held can be had again from {EVENTS}: stop the worker, and run `phonemeter replay "
            f"--confirm`."
        )
    return (
        "What was recorded there is in no other topic. Where it has replicas, stop the broker that leads the "
        "partition, remove the partition's directory from its log.dirs and start it again: it copies the "
        "partition from the others. Otherwise restore the broker's data from a back-up."
    )
