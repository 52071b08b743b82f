import pytest

from bench.figures import Figure, percentile, rounded


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    hundred = [float(number) for number in range(100, 0, -1)]
    assert percentile(hundred, 0.5) == 50
    assert percentile(hundred, 0.99) == 99
    assert percentile(hundred, 1.0) == 100
    assert percentile([*hundred, 101.0], 0.99) == 100
    assert percentile([7.0], 0.99) == 7


def test_a_percentile_of_nothing_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="measure for longer"):
        percentile([], 0.99)


def test_the_median_of_the_runs_decides_whether_a_target_is_met() -> None:
    slow_once = Figure(figure="f", values=(11.0, 30.0, 11.5), unit="s", target=12.0)
    assert slow_once.value == 11.5
    assert slow_once.met is True
    assert Figure(figure="f", values=(79.0,), unit="k", target=80.0, limit="at least").met is False
    assert Figure(figure="f", values=(79.0,), unit="k").met is None


def test_a_line_has_the_spread_the_target_and_the_conditions() -> None:
    figure = Figure(
        figure="f", values=(1.234567, 3.0, 2.0), unit="s", target=2.5, correct=True, under={"taps": 5}
    )
    assert figure.as_line({"cores": 2}) == {
        "figure": "f",
        "value": 2.0,
        "unit": "s",
        "runs": 3,
        "lowest": 1.23,
        "highest": 3.0,
        "target": "at most 2.5",
        "met": True,
        "correct": True,
        "under": {"taps": 5},
        "conditions": {"cores": 2},
    }


def test_digits_that_are_noise_are_not_told() -> None:
    assert [rounded(value) for value in (81_234.56, 118.4, 11.96, 0.012345)] == [81_235, 118, 12.0, 0.0123]
