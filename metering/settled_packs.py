"""The packs that a settlement changes: their entries, and their places in the account (rules 8 and 15)."""

from metering.accounts import Account
from metering.events import PackTerms, Settled
from metering.journal import Journal, details_json
from metering.lateness import end_of_pack, newest_call_ms
from metering.ledger import EntryKind
from metering.purchases import pack_details
from metering.settlement_changes import PackChange
from metering.times import to_ms


class SettledPacks:
    """The packs of an account that one event of a settlement changes."""

    def __init__(self, account: Account, event: Settled, journal: Journal) -> None:
        self._account = account
        self._event = event
        self._journal = journal

    def take_away(self, change: PackChange) -> None:
        """Take back a pack that holds all of its calls."""
        self._account.capabilities[change.capability].remove(change.pack.pack_id)
        self._account.removed_packs += 1
        self._add_terms(change, -1, pack_details(change.pack, "paid"))

    def add_bought(self, change: PackChange, terms: PackTerms) -> None:
        """Add a pack with the terms that it should have had."""
        data = terms.pack
        agency_paid_ms = None if data.assigned_at is None else to_ms(data.paid_at)
        details = pack_details(change.pack, data.price_basis, agency_paid_ms=agency_paid_ms, of=terms.of)
        self._add_terms(change, 1, details)

    def _add_terms(self, change: PackChange, sign: int, details: str) -> None:
        """Add the entries of a pack that is bought, or the opposite of one that was."""
        pack, used = change.pack, change.pack.used_before
        entries: list[tuple[EntryKind, int, int, int]] = [
            ("purchase", sign * pack.calls, sign * pack.price_micro_yuan, pack.calls if sign > 0 else 0)
        ]
        if used:
            entries.append(("opening", sign * used, 0, pack.calls - used if sign > 0 else pack.calls))
        for kind, calls, amount, left in entries[::sign]:
            self._journal.add(
                kind,
                pack.effective_ms,
                self._account.appid,
                change.capability,
                event_id=self._event.id,
                calls=calls,
                amount_micro_yuan=amount,
                pack_id=pack.pack_id,
                remaining=left,
                reason="settled",
                source=self._event.source,
                details=details if kind == "purchase" else "",
            )

    def refund(self, change: PackChange, calls: int, *, tell: bool = False) -> None:
        """Correct what was given back of a pack; `tell` that it is refunded now, or that it is not."""
        before, change.refunded = change.refunded, calls
        given_ms = change.refunded_ms if change.refunded_after_ms is None else change.refunded_after_ms
        status = "not_refunded" if change.refunded_after_ms is None else "refunded"
        self._add_of_pack(
            change, "refund", given_ms or 0, before, calls, details_json(status=status) if tell else ""
        )

    def lapse(self, change: PackChange, calls: int) -> None:
        """Correct what lapsed of a pack."""
        before, change.lapsed = change.lapsed, calls
        self._add_of_pack(change, "lapse", change.pack.expires_at_ms, before, calls)

    def _add_of_pack(
        self, change: PackChange, kind: EntryKind, time_ms: int, before: int, after: int, details: str = ""
    ) -> None:
        """Add the entry of a pack that lost its last calls otherwise than before, or one with details."""
        if after == before and not details:
            return
        pack = change.pack
        self._journal.add(
            kind,
            time_ms,
            self._account.appid,
            change.capability,
            event_id=self._event.id,
            calls=after - before,
            amount_micro_yuan=pack.cost(pack.calls - before) - pack.cost(pack.calls - after),
            pack_id=pack.pack_id,
            remaining=change.left,
            reason="settled",
            source=self._event.source,
            details=details,
        )

    def place(self, change: PackChange) -> None:
        """Put a pack where one with its calls belongs."""
        account = self._account
        capability_account = account.capabilities[change.capability]
        pack = change.pack.copy()
        capability_account.remove(pack.pack_id)
        pack.remaining = change.left
        if change.refunded_after_ms is not None:
            given_ms = change.refunded_after_ms
            capability_account.give_back(pack, change.refunded, given_ms, lapsed=change.lapsed)
            capability_account.turn(newest_call_ms(account))
        elif change.lapsed:
            capability_account.close(pack, "lapsed", change.lapsed)
            capability_account.turn(pack.expires_at_ms - 1)
        elif pack.remaining:
            capability_account.add_open(pack)
        else:
            end_of_pack(capability_account, pack, 0)
            if account.clock_ms < pack.expires_at_ms:
                capability_account.spend(pack)
            else:
                capability_account.close(pack, "exhausted")
