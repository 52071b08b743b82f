import msgspec
import pytest

from metering.log_identity import FoundRecord, Mark, PartitionView, difference, fingerprint, refusal

READ = fingerprint(b"wxfb1f3d218d111092", b"{}", 1_700_000_000_000)
MARK = Mark("an-id", offset=99, fingerprint=READ, leader_epoch=5)
SAME = PartitionView("an-id", begin=0, end=150, found=FoundRecord(READ, 5))


def test_a_log_that_went_on_is_the_same() -> None:
    assert difference(MARK, 100, SAME) == ""


def test_a_log_that_lost_its_head_after_it_was_read_is_the_same() -> None:
    assert difference(MARK, 100, PartitionView("an-id", begin=100, end=150)) == ""


def test_a_position_without_a_mark_is_held_against_the_ends_only() -> None:
    assert difference(Mark(), 0, PartitionView("an-id", begin=0, end=0)) == ""
    assert "ends at offset 50, but was read up to 100" in difference(
        Mark(), 100, PartitionView("an-id", 0, 50)
    )


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (
            PartitionView("another", 0, 1_000, FoundRecord(READ, 5)),
            "the topic was recreated (its id was an-id and is another)",
        ),
        (PartitionView("an-id", 0, 50), "it ends at offset 50, but was read up to 100"),
        (PartitionView("an-id", 101, 200), "it begins at offset 101, but 100 is next"),
        (
            PartitionView("an-id", 0, 150, FoundRecord(READ + 1, 6)),
            "at offset 99 it has another record than was read there",
        ),
        (PartitionView("an-id", 0, 150, FoundRecord(READ, 6)), "written anew (leader epoch 5 then, 6 now)"),
        (PartitionView("an-id", 0, 150), "at offset 99 it has no record any more"),
    ],
)
def test_a_log_that_is_another_one_is_told_in_a_sentence(view: PartitionView, sentence: str) -> None:
    assert sentence in difference(MARK, 100, view)


def test_a_record_that_compaction_may_have_removed_says_nothing() -> None:
    assert difference(MARK, 100, PartitionView("an-id", 0, 150), compacted=True) == ""


def test_what_a_broker_does_not_tell_is_not_compared() -> None:
    assert difference(MARK, 100, PartitionView("", 0, 150, FoundRecord(READ))) == ""
    assert difference(MARK, 100, PartitionView("an-id", 0, 150, looked=False)) == ""


def test_a_fingerprint_tells_key_value_and_time_apart() -> None:
    prints = {fingerprint(b"a", b"b", 1), fingerprint(b"b", b"a", 1), fingerprint(b"a", b"b", 2)}
    assert len(prints | {fingerprint(None, b"ab", 1), fingerprint(b"ab", None, 1)}) == 5


def test_a_mark_is_stored_and_read_back() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(MARK), type=Mark) == MARK


def test_a_refusal_names_place_reason_and_the_way_out() -> None:
    assert refusal("phone-events", 3, "it ends early", "do this") == (
        "phone-events partition 3 is not the log that was read before: it ends early; do this"
    )
