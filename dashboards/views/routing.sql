-- An entry has the whole policy of its capability, so the newest holds. Where an owner has set none, the default does.
CREATE OR REPLACE VIEW routing
(
    appid String COMMENT 'The app',
    capability String COMMENT 'quick or realtime',
    mode String COMMENT 'balance, or the fixed answer: wechat, sms or manual',
    reserve_calls Int64 COMMENT 'Calls left at which nobody is sent to WeChat any more',
    lead_minutes Int64 COMMENT 'A run-out nearer than this sends nobody either; 0 is off',
    sms_left Nullable(Int64) COMMENT 'Short messages left, as told last; NULL if nobody counts them',
    ask_known_members Bool COMMENT 'Whether members whose number is on file are asked, too',
    store_budgets Map(String, Int64) COMMENT 'Calls a Shanghai day by store; of the empty one each other store',
    when_stale String COMMENT 'The answer while what is known of the balance is stale: estimate, wechat, sms or manual',
    refusal_pause_s Int64 COMMENT 'Seconds after a refusal by the platform in which nobody is sent to WeChat',
    set_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was set last; NULL if it never was'
) AS
SELECT
    every.appid AS appid,
    every.capability AS capability,
    if(chosen.details = '', 'balance', JSONExtractString(chosen.details, 'mode')) AS mode,
    JSONExtractInt(chosen.details, 'reserve_calls') AS reserve_calls,
    JSONExtractInt(chosen.details, 'lead_minutes') AS lead_minutes,
    JSONExtract(chosen.details, 'sms_left', 'Nullable(Int64)') AS sms_left,
    JSONExtract(chosen.details, 'ask_known_members', 'Bool') AS ask_known_members,
    CAST(
        arrayMap(budget -> (JSONExtractString(budget, 'store'), JSONExtractInt(budget, 'calls')), JSONExtractArrayRaw(chosen.details, 'store_budgets')),
        'Map(String, Int64)'
    ) AS store_budgets,
    if(chosen.details = '', 'estimate', JSONExtractString(chosen.details, 'when_stale')) AS when_stale,
    if(chosen.details = '', 300, JSONExtractInt(chosen.details, 'refusal_pause_s')) AS refusal_pause_s,
    if(chosen.details = '', NULL, chosen.at) AS set_at
FROM
(
    SELECT CAST(appid AS String) AS appid, arrayJoin(['quick', 'realtime']) AS capability
    FROM (SELECT DISTINCT appid FROM ledger WHERE kind IN ('trial_grant', 'purchase', 'routing_set'))
) AS every
LEFT JOIN
(
    SELECT
        CAST(appid AS String) AS appid,
        toString(capability) AS capability,
        argMax(details, (source_offset, line)) AS details,
        argMax(time, (source_offset, line)) AS at
    FROM ledger WHERE kind = 'routing_set' GROUP BY appid, capability
) AS chosen
ON every.appid = chosen.appid AND every.capability = chosen.capability
COMMENT 'The routing policy in force of each app and capability: how members are sent to WeChat or elsewhere'
