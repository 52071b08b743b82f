"""The differences of rules from those of a log, as settings."""

from metering.rules import Rules, different_settings


def test_settings_that_differ_are_told_as_they_are_set_with_both_values() -> None:
    here = Rules(trial_calls=2_000, allowed_lateness_ms=7_200_000, duplicate_window_ms=500)
    assert different_settings(Rules(), here) == (
        "trial_calls is 1000 in the log and 2000 here, "
        "allowed_lateness_s is 86400 in the log and 7200 here, "
        "duplicate_window_s is 34560000 in the log and 0.5 here"
    )
    assert different_settings(here, here) == ""


def test_the_beginning_of_billing_is_told_as_a_time() -> None:
    told = different_settings(Rules(), Rules(billing_start_ms=1_693_152_000_000))
    assert told == ("billing_start is 2023-08-25T16:00:00.000Z in the log and 2023-08-27T16:00:00.000Z here")
