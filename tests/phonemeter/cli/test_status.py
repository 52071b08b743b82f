"""The sentences of `phonemeter status`."""

from phonemeter.cli.status import recognised_repeats


def test_the_horizon_of_duplicates_is_that_of_the_partition_which_remembers_least() -> None:
    since = recognised_repeats({0: 1_790_000_000_000, 1: 1_790_000_060_000, 2: 0})
    assert since == "repeats are recognised back to 2026-09-21 22:14:20 (Shanghai)"


def test_without_a_forgotten_id_all_repeats_are_recognised() -> None:
    assert recognised_repeats({0: 0, 1: 0}) == "repeats are recognised back to the beginning of the log"
    assert recognised_repeats({}) == "unknown"
