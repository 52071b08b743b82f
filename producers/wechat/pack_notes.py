"""The packs about which WeChat and the ledger differ, for the log and the metrics."""

import logging
from collections.abc import Mapping, Sequence

from producers.wechat.matching import KnownPack
from producers.wechat.metrics import Metrics

log = logging.getLogger(__name__)


class PackNotes:
    """The packs of all apps that are joined or unmatched, counted for the metrics and logged once each."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._joined: dict[str, dict[str, str]] = {}
        self._unmatched: dict[str, set[str]] = {}

    def note(self, appid: str, names: Mapping[str, str], unmatched: Sequence[KnownPack]) -> None:
        """Note the state of an app."""
        before = self._joined.get(appid, {})
        joined = {theirs: ours for theirs, ours in names.items() if theirs != ours}
        for theirs, ours in joined.items():
            if before.get(theirs) != ours:
                log.info(
                    "WeChat's pack %s of %s is taken for the ledger's %s: same capability, size, days and "
                    "start, or the same order.",
                    theirs,
                    appid,
                    ours,
                )
        for pack in unmatched:
            if pack.pack_id not in self._unmatched.get(appid, set()):
                log.warning(
                    "The ledger has a pack %s of %s that WeChat does not have: it may be recorded twice, or "
                    "for another app.",
                    pack.pack_id,
                    appid,
                )
        self._joined[appid] = joined
        self._unmatched[appid] = {pack.pack_id for pack in unmatched}
        self._metrics.joined_packs.set(sum(map(len, self._joined.values())))
        self._metrics.unmatched_packs.set(sum(map(len, self._unmatched.values())))
