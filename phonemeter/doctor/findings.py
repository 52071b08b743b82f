"""The findings of `phonemeter doctor`."""

from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "failed", "advice", "not tried"]


@dataclass(frozen=True, slots=True)
class StepFinding:
    """The outcome of one step.

    Attributes:
        step: its name.
        subject: the broker, topic, group or server that it is about.
        told: the reason, or what was found.
        remedy: what to change or to ask for; commands are on lines of their own.
    """

    step: str
    subject: str
    state: State
    told: str = ""
    remedy: str = ""


@dataclass(slots=True)
class Findings:
    """All findings, in the order of the steps."""

    all: list[StepFinding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """True if a step failed."""
        return any(one.state == "failed" for one in self.all)

    def ok(self, step: str, subject: str, told: str = "") -> None:
        """Add a step that succeeded."""
        self.all.append(StepFinding(step, subject, "ok", told))

    def fail(self, step: str, subject: str, told: str, remedy: str = "") -> None:
        """Add a step that failed."""
        self.all.append(StepFinding(step, subject, "failed", told, remedy))

    def advise(self, step: str, subject: str, told: str) -> None:
        """Add something that could be safer."""
        self.all.append(StepFinding(step, subject, "advice", told))

    def skip(self, steps: tuple[str, ...], why: str) -> None:
        """Add steps that cannot be tried."""
        self.all.extend(StepFinding(step, "", "not tried", why) for step in steps)
