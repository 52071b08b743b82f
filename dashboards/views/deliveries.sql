CREATE OR REPLACE VIEW deliveries
(
    alert_id String COMMENT 'The alert, as in alerts, in messages and in phonemeter alerts list',
    appid String COMMENT 'The app',
    capability LowCardinality(String) COMMENT 'quick or realtime',
    time DateTime64(3, 'UTC') COMMENT 'When the threshold was crossed',
    reason LowCardinality(String) COMMENT 'level, expiry, run_out, uncovered, refused, minute_burn, client_burn or charge_notice',
    recovered Bool COMMENT 'Whether it says that something is over',
    route LowCardinality(String) COMMENT 'To whom: the route of the notifier''s file',
    channel LowCardinality(String) COMMENT 'webhook, wecom, dingtalk, feishu, slack or email; empty before the first attempt',
    state LowCardinality(String) COMMENT 'held (quiet hours, digest), waiting (next attempt), sending, delivered, dead (given up), acknowledged, not_sent (too old when it arrived)',
    attempts UInt32 COMMENT 'Attempts made, one under way included',
    asked_at DateTime64(3, 'UTC') COMMENT 'When the notifier saw the alert first',
    due_at DateTime64(3, 'UTC') COMMENT 'When the next attempt is due, or was due last',
    delivered_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the receiver had it; NULL if it has not',
    changed_at DateTime64(3, 'UTC') COMMENT 'When the newest attempt began or ended',
    outcome String COMMENT 'What became of the newest attempt, in words',
    acknowledged_by String COMMENT 'Who said that somebody takes care of it; empty if nobody',
    acknowledged_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When; NULL if nobody',
    message_id String COMMENT 'Id of the message (webhook-id), the same in every attempt; several alerts of a digest share one'
) AS
SELECT
    states.alert_id AS alert_id,
    states.appid AS appid,
    alerts.capability AS capability,
    alerts.time AS time,
    alerts.reason AS reason,
    alerts.recovered AS recovered,
    route,
    channel,
    multiIf(
        states.state IN ('delivered', 'not_sent'), states.state,
        acknowledged_at IS NOT NULL, 'acknowledged',
        states.state = 'held' AND due_at <= now64(3), 'waiting',
        states.state) AS state,
    attempts,
    asked_at,
    due_at,
    if(states.state = 'delivered', changed_at, NULL) AS delivered_at,
    changed_at,
    outcome,
    acknowledged_by,
    acknowledged_at,
    message_id
FROM delivery_states AS states FINAL
LEFT JOIN alerts ON alerts.alert_id = states.alert_id
COMMENT 'What became of each alert on each route that wanted it, as far as the sink has read the notifier''s log; an alert that no route wanted has no row'
