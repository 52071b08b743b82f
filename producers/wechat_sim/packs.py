"""The quotas of one simulated app, used in the order in which WeChat uses them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

DAY_S: Final = 86_400
TRIAL_CALLS: Final = 1_000
NO_END: Final = 4_294_967_295
FIRST_PACK_NUMBER: Final = 2_823_973_277_692_477_440

SPUS: Final = {"quick": "10000077", "realtime": "10000086"}
"""WeChat's numbers of the two components."""

ACTIVE, PENDING, ENDED = 1, 2, 3
TRIAL_SOURCE, BOUGHT_SOURCE = 1, 2


@dataclass(slots=True)
class SimulatedPack:
    """A pack at WeChat; times are seconds since 1970."""

    pkg_id: str
    spu: str
    size: int
    start_s: int
    end_s: int
    used: int = 0
    order_id: str = ""

    def status_at(self, now_s: float) -> int:
        """Its status as the usage interface numbers it."""
        return PENDING if now_s < self.start_s else ACTIVE if now_s < self.end_s else ENDED

    def row(self, now_s: float) -> dict[str, Any]:
        """Its row in the usage interface, where counts are texts."""
        row: dict[str, Any] = {
            "pkgId": self.pkg_id,
            "startTime": self.start_s,
            "endTime": self.end_s,
            "used": str(self.used),
            "all": str(self.size),
            "status": self.status_at(now_s),
            "spuId": self.spu,
            "skuId": "20000059",
            "source": BOUGHT_SOURCE,
        }
        return row | {"orderId": self.order_id} if self.order_id else row


@dataclass(slots=True)
class SimulatedQuotas:
    """The trial quota of an app, which both capabilities share, and its packs."""

    trial_size: int = TRIAL_CALLS
    trial_used: int = 0
    packs: list[SimulatedPack] = field(default_factory=list)

    def rows(self, spu: str, now_s: float) -> list[dict[str, Any]]:
        """The rows of one capability: the trial quota, then the packs by their start."""
        trial = {
            "pkgId": "",
            "startTime": 1_692_979_200,
            "endTime": NO_END,
            "used": str(self.trial_used),
            "all": str(self.trial_size),
            "status": ACTIVE,
            "spuId": spu,
            "skuId": "",
            "source": TRIAL_SOURCE,
        }
        packs = sorted(self._of(spu), key=lambda pack: (pack.start_s, pack.pkg_id))
        return [trial, *(pack.row(now_s) for pack in packs)]

    def use(self, spu: str, calls: int, now_s: float) -> int:
        """Take calls from the trial quota and then from the packs; the number that was granted."""
        granted = min(calls, self.trial_size - self.trial_used)
        self.trial_used += granted
        active = [pack for pack in self._of(spu) if pack.status_at(now_s) == ACTIVE]
        for pack in sorted(active, key=lambda pack: (pack.end_s, pack.start_s, pack.pkg_id)):
            taken = min(calls - granted, pack.size - pack.used)
            pack.used += taken
            granted += taken
        return granted

    def totals(self, spu: str, now_s: float) -> tuple[int, int]:
        """The calls used and the size of everything that is active."""
        active = [pack for pack in self._of(spu) if pack.status_at(now_s) == ACTIVE]
        return (
            self.trial_used + sum(pack.used for pack in active),
            self.trial_size + sum(pack.size for pack in active),
        )

    def _of(self, spu: str) -> Sequence[SimulatedPack]:
        return [pack for pack in self.packs if pack.spu == spu]


_numbers = itertools.count(FIRST_PACK_NUMBER)


def new_pack_id() -> str:
    """An id as WeChat gives packs."""
    return f"ZY{next(_numbers)}"
