"""A charge notice in the views: an alert like others, which is never open (rule 21)."""

import json

from tests.dashboards.conftest import Ledger
from tests.metering.building import APP, at, notice_requested, play, purchased, succeeded, ticked


def test_a_charge_notice_is_among_the_alerts_and_never_open(kept: Ledger) -> None:
    played = play(
        purchased(at(0), "P1", calls=10),
        *(succeeded(at(1, ms=number)) for number in range(8)),
        notice_requested(at(1, hours=1), name="会员中心"),
        ticked(at(2)),
    )
    kept.replace(played.entries)
    assert kept.query(
        "SELECT appid, capability, reason, recovered, is_open, open_until IS NULL, remaining FROM alerts "
        "WHERE reason IN ('level', 'charge_notice') ORDER BY toUInt64(splitByChar('-', alert_id)[2])"
    ) == [
        (APP, "quick", "level", False, True, 1, 2),
        (APP, "quick", "charge_notice", False, False, 1, 2),
    ]
    ((details,),) = kept.query("SELECT details FROM alerts WHERE reason = 'charge_notice'")
    ((stored,),) = kept.query("SELECT details FROM ledger WHERE kind = 'charge_notice'")
    assert json.loads(details) == json.loads(stored)
