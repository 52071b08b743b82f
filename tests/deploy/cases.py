"""For each alert what Prometheus sees when it must fire, and what it sees when it must not.

Series are in promtool's notation, a sample every 30 seconds from time 0 on: `0x20` is zero all the time,
`0+60x20` grows by 60 a sample.
"""

from dataclasses import dataclass
from typing import Final

Series = dict[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """An alert that fires `at` some time on the one, and never on the other.

    Attributes:
        fires: what makes it fire.
        quiet: what is close to it and does not.
        at: when it has to fire.
    """

    fires: Series
    quiet: Series
    at: str = "12m"


def up(job: str, *samples: str) -> Series:
    return {f'up{{job="{job}",instance="{job}-{number}"}}': one for number, one in enumerate(samples)}


def freshness(slow: str) -> Series:
    """A histogram whose observations are within 10 s, but for so many a sample that took an hour."""
    return {
        'phonemeter_sink_freshness_seconds_bucket{le="10"}': "0+50x60",
        'phonemeter_sink_freshness_seconds_bucket{le="3600"}': f"0+{slow}x60",
        'phonemeter_sink_freshness_seconds_bucket{le="+Inf"}': f"0+{slow}x60",
    }


def loop_lag(slow: str) -> Series:
    return {
        'phonemeter_worker_event_loop_lag_seconds_bucket{instance="a",le="0.5"}': "0+50x60",
        'phonemeter_worker_event_loop_lag_seconds_bucket{instance="a",le="5"}': f"0+{slow}x60",
        'phonemeter_worker_event_loop_lag_seconds_bucket{instance="a",le="+Inf"}': f"0+{slow}x60",
    }


def audit(ended: str, interval_s: int = 120) -> Series:
    who = '{job="audit",instance="a"}'
    return {
        f"phonemeter_audit_last_timestamp_seconds{who}": ended,
        f"phonemeter_audit_interval_seconds{who}": f"{interval_s}x60",
        f"process_start_time_seconds{who}": "0x60",
    }


def platform_difference(calls: str, seconds: str) -> Series:
    """The difference of one pack, and for how long it is the same."""
    quota = '{appid="wx1",capability="quick",pack_id="p1"}'
    return {
        f"phonemeter_app_difference_calls{quota}": calls,
        f"phonemeter_app_difference_seconds{quota}": seconds,
    }


def balances(read: str) -> Series:
    who = '{job="audit",instance="a"}'
    return {
        f"phonemeter_balances_last_timestamp_seconds{who}": read,
        f"process_start_time_seconds{who}": "0x100",
    }


CASES: Final[dict[str, Case]] = {
    "PhonemeterWorkerMissing": Case(up("worker", "0x60", "0x60"), up("worker", "0x60", "1x60"), "3m"),
    "PhonemeterSinkMissing": Case({}, up("sink", "1x60"), "3m"),
    "PhonemeterNotifierMissing": Case(up("notifier", "0x60"), up("notifier", "1x60"), "6m"),
    "PhonemeterSettlerMissing": Case({}, up("settler", "1x60"), "6m"),
    "PhonemeterGatewayMissing": Case(up("gateway", "0x60"), up("gateway", "1x60"), "3m"),
    "PhonemeterGatewayTakesNothing": Case(
        {'phonemeter_gateway_healthy{job="gateway",instance="a",promise="reachable"}': "1x4 0x56"},
        {'phonemeter_gateway_healthy{job="gateway",instance="a",promise="reachable"}': "0x3 1x57"},
        "6m",
    ),
    "PhonemeterGatewayOutOfDate": Case(
        {'phonemeter_gateway_healthy{job="gateway",instance="a",promise="fresh"}': "1x4 0x56"},
        {'phonemeter_gateway_healthy{job="gateway",instance="a",promise="fresh"}': "0x5 1x55"},
        "7m",
    ),
    "PhonemeterConsoleMissing": Case(up("console", "0x60"), up("console", "1x60"), "6m"),
    "PhonemeterConsoleShowsNothing": Case(
        {'phonemeter_console_healthy{job="console",instance="a",promise="reachable"}': "1x4 0x56"},
        {'phonemeter_console_healthy{job="console",instance="a",promise="reachable"}': "0x3 1x57"},
        "10m",
    ),
    "PhonemeterServiceDown": Case(up("sink", "1x60", "0x60"), up("grafana", "0x60"), "3m"),
    "PhonemeterNotStarted": Case(
        {'phonemeter_sink_healthy{job="sink",instance="a",promise="started"}': "0x60"},
        {'phonemeter_sink_healthy{job="sink",instance="a",promise="started"}': "0x8 1x52"},
    ),
    "PhonemeterPreconditionsBroken": Case(
        {'phonemeter_worker_healthy{job="worker",instance="a",promise="preconditions"}': "1x4 0x56"},
        {'phonemeter_worker_healthy{job="worker",instance="a",promise="fresh"}': "0x60"},
        "6m",
    ),
    "PhonemeterPromiseBroken": Case(
        {'phonemeter_notifier_healthy{job="notifier",instance="a",promise="delivered"}': "0x60"},
        {
            'phonemeter_worker_healthy{job="worker",instance="a",promise="fresh"}': "0x10 1x50",
            'phonemeter_sink_healthy{job="sink",instance="a",promise="started"}': "0x60",
        },
    ),
    "PhonemeterClickHouseDown": Case(
        {"phonemeter_sink_clickhouse_up": "0x60"}, {"phonemeter_sink_clickhouse_up": "0x2 1x60"}, "3m"
    ),
    "PhonemeterDiskNearlyFull": Case(
        {"phonemeter_engine_disk_free_bytes": "9x60", "phonemeter_engine_disk_size_bytes": "100x60"},
        {
            "ClickHouseAsyncMetrics_DiskAvailable_default": "11x60",
            "ClickHouseAsyncMetrics_DiskTotal_default": "100x60",
        },
    ),
    "PhonemeterWorkerStuck": Case(
        {
            'phonemeter_worker_lag_records{partition="1"}': "7x60",
            'phonemeter_worker_records_total{partition="0"}': "0+10x60",
        },
        {
            'phonemeter_worker_lag_records{partition="1"}': "7x60",
            'phonemeter_worker_records_total{partition="1"}': "0+10x60",
        },
    ),
    "PhonemeterWorkerBehind": Case(
        {'phonemeter_worker_lag_seconds{partition="1"}': "301x60"},
        {'phonemeter_worker_lag_seconds{partition="1"}': "299x60"},
    ),
    "PhonemeterEventLoopSlow": Case(loop_lag("60"), loop_lag("50"), "20m"),
    "PhonemeterDeadLetters": Case(
        {
            'phonemeter_worker_records_total{partition="0"}': "0+100x60",
            'phonemeter_worker_dead_letters_total{reason="not_json"}': "0+2x60",
        },
        {
            'phonemeter_worker_records_total{partition="0"}': "0+1000x60",
            'phonemeter_worker_dead_letters_total{reason="not_json"}': "0+2x60",
        },
    ),
    "PhonemeterWrongPartition": Case(
        {'phonemeter_worker_wrong_partition_records_total{source="/kcat"}': "_x20 1x40"},
        {'phonemeter_worker_wrong_partition_records_total{source="/kcat"}': "0x60"},
    ),
    "PhonemeterDuplicatesSpike": Case(
        {
            'phonemeter_worker_records_total{partition="0"}': "0+100x60",
            'phonemeter_worker_ledger_entries_total{kind="duplicate"}': "0+30x60",
        },
        {
            'phonemeter_worker_records_total{partition="0"}': "0+100x60",
            'phonemeter_worker_ledger_entries_total{kind="charge"}': "0+90x60",
            'phonemeter_worker_ledger_entries_total{kind="duplicate"}': "0+10x60",
        },
        "16m",
    ),
    "PhonemeterUncoveredCalls": Case(
        {'phonemeter_worker_uncovered_calls_total{reason="exhausted"}': "0x10 1x50"},
        {'phonemeter_worker_uncovered_calls_total{reason="exhausted"}': "7x60"},
        "6m",
    ),
    "PhonemeterAuthorizationsRefused": Case(
        {'phonemeter_worker_refused_authorizations_total{capability="quick"}': "0x10 1x50"},
        {'phonemeter_worker_refused_authorizations_total{capability="quick"}': "7x60"},
        "6m",
    ),
    "PhonemeterWaitsForKafka": Case(
        {"phonemeter_worker_kafka_waits_total": "0+1x60"},
        {"phonemeter_worker_kafka_waits_total": "0x10 2x50"},
        "20m",
    ),
    "PhonemeterSeeksBack": Case(
        {'phonemeter_worker_seeks_back_total{partition="0"}': "0+1x60"},
        {'phonemeter_worker_seeks_back_total{partition="0"}': "0x10 2x50"},
    ),
    "PhonemeterRestoresFlapping": Case(
        {'phonemeter_worker_restores_total{partition="0",instance="a"}': "0+1x60"},
        {'phonemeter_worker_restores_total{partition="0",instance="a"}': "1x10 3x50"},
    ),
    "PhonemeterSinkStuck": Case(
        {
            'phonemeter_sink_lag_records{partition="0"}': "3x60",
            "phonemeter_sink_rows_inserted_total": "50x60",
            "phonemeter_sink_duplicate_rows_total": "0x60",
        },
        {
            'phonemeter_sink_lag_records{partition="0"}': "3x60",
            "phonemeter_sink_rows_inserted_total": "50x60",
            "phonemeter_sink_duplicate_rows_total": "0+5x60",
        },
    ),
    "PhonemeterSinkStopped": Case(
        {'phonemeter_sink_stopped{partition="0"}': "1x60"},
        {'phonemeter_sink_stopped{partition="0"}': "0x60"},
    ),
    "PhonemeterSinkBehind": Case(
        {'phonemeter_sink_lag_seconds{partition="0"}': "0x10 301x50"},
        {'phonemeter_sink_lag_seconds{partition="0"}': "301x4 0x56"},
    ),
    "PhonemeterFreshnessLow": Case(freshness("60"), freshness("50"), "20m"),
    "PhonemeterLedgerReadAgain": Case(
        {"phonemeter_sink_rewinds_total": "0x10 1x50"}, {"phonemeter_sink_rewinds_total": "1x60"}, "10m"
    ),
    "PhonemeterAuditDrift": Case(
        {'phonemeter_audit_drift_entries{place="clickhouse"}': "2x60"},
        {'phonemeter_audit_drift_entries{place="clickhouse"}': "0x60"},
    ),
    "PhonemeterAuditNotRun": Case(audit("0x60"), audit("0+30x60"), "8m"),
    "PhonemeterBalancesOld": Case(balances("60x100"), balances("0+30x100"), "35m"),
    "PhonemeterAppRunsOut": Case(
        {'phonemeter_app_run_out_seconds{appid="wx1",capability="quick"}': "200000x100"},
        {'phonemeter_app_run_out_seconds{appid="wx1",capability="quick"}': "300000x100"},
        "35m",
    ),
    "PhonemeterPlatformDiffers": Case(
        platform_difference("3x60", "3600+60x60"), platform_difference("3x60", "90000+60x60"), "15m"
    ),
    "PhonemeterDeliveriesNotStored": Case(
        {'phonemeter_sink_delivery_failures_total{instance="sink:9465"}': "0+1x60"},
        {'phonemeter_sink_delivery_failures_total{instance="sink:9465"}': "0x10 3x50"},
        "25m",
    ),
    "PhonemeterUnsettled": Case(
        {"phonemeter_settler_oldest_unsettled_seconds": "61x60"},
        {"phonemeter_settler_oldest_unsettled_seconds": "0x4 70x4 0x52"},
    ),
    "PhonemeterNotifierWaiting": Case(
        {"phonemeter_notifier_oldest_waiting_seconds": "901x60"},
        {"phonemeter_notifier_oldest_waiting_seconds": "600x60"},
    ),
    "PhonemeterNotifierDeadLetters": Case(
        {"phonemeter_notifier_dead": "1x60"}, {"phonemeter_notifier_dead": "0x60"}
    ),
    "PhonemeterNotifierRouteDisabled": Case(
        {"phonemeter_notifier_disabled_routes": "1x60"}, {"phonemeter_notifier_disabled_routes": "0x60"}
    ),
    "PhonemeterNotifierRoutesRefused": Case(
        {"phonemeter_notifier_routes_refused": "1x60"}, {"phonemeter_notifier_routes_refused": "1x1 0x60"}
    ),
    "PhonemeterWechatUnread": Case(
        {'phonemeter_wechat_healthy{job="wechat",instance="a",promise="observed"}': "0x60"},
        {'phonemeter_wechat_healthy{job="wechat",instance="a",promise="observed"}': "0x3 1x57"},
    ),
    "PhonemeterWechatPushesRefused": Case(
        {'phonemeter_wechat_pushes_total{instance="a",outcome="forged"}': "0+1x60"},
        {
            'phonemeter_wechat_pushes_total{instance="a",outcome="forged"}': "0x30 1x30",
            'phonemeter_wechat_pushes_total{instance="a",outcome="stored"}': "0+9x60",
        },
        "59m",
    ),
    "PhonemeterWechatPackUnmatched": Case(
        {"phonemeter_wechat_unmatched_packs": "1x600"},
        {"phonemeter_wechat_unmatched_packs": "1x30 0x570"},
        "2h",
    ),
}
