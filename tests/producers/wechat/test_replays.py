"""The memory of pushes that were taken."""

from producers.wechat.replays import REMEMBERED_MAX, PushMemory


def test_the_memory_is_bounded_and_makes_room_when_pushes_are_too_old_to_come_again() -> None:
    now_s = 1_000.0
    memory = PushMemory(300, lambda: now_s)
    assert all(memory.take(f"push-{number}") for number in range(REMEMBERED_MAX))
    assert not memory.take("one more")
    now_s += 601
    assert memory.take("one more")
    assert memory.take("push-0")


def test_a_time_is_digits() -> None:
    memory = PushMemory(300, lambda: 1_000.0)
    assert memory.is_timely("1300")
    assert not any(map(memory.is_timely, ("", "-1000", "1e3", "1000.0", "１０００", "9" * 13, "1301", "699")))
