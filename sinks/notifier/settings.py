"""The notifier's settings: environment variables named `PHONEMETER_` plus the field."""

from pathlib import Path

from pydantic import Field

from sinks.settings import ServiceSettings


class NotifierSettings(ServiceSettings):
    """Settings of the notifier."""

    alert_routes: Path | None = Field(
        None,
        description="File that says which alerts go where (docs/how-to/alerts.md); "
        "without one none are delivered.",
    )
    alert_mail: str = Field(
        "",
        max_length=1_000,
        description="Mail server through which alerts reach the e-mail addresses that owners enter in the "
        "console; without one they can't enter any.",
        repr=False,
        json_schema_extra={"secret": True, "expected": "mailtos://USER:PASSWORD@HOST?from=SENDER@HOST"},
    )
    notifier_timeout_s: int = Field(
        15, ge=1, le=60, description="How long one attempt to deliver an alert may take, from end to end."
    )
    notifier_retry_first_ms: int = Field(
        5_000,
        ge=100,
        le=3_600_000,
        description="Pause after the first failed attempt; it doubles with each further one, up to 2 h.",
    )
    notifier_retry_for_s: int = Field(
        86_400,
        ge=1,
        le=604_800,
        description="How long attempts are repeated before an alert is dead for a route.",
    )
    notifier_alert_age_max_s: int = Field(
        604_800,
        ge=60,
        le=31_536_000,
        description="Alerts that were published longer ago than this when the notifier first sees them are "
        "not delivered.",
    )
    notifier_past_max_s: int = Field(
        86_400,
        ge=60,
        le=315_360_000,
        description="Alerts about what was longer past than this when its event arrived are recorded and not "
        "sent: history that is imported or simulated wakes nobody.",
    )
    notifier_port: int = Field(
        9467, ge=1, le=65_535, description="Port of the notifier's metrics and health."
    )
