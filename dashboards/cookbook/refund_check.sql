-- Which packs can still be given back?
-- A pack is refunded only if nothing was taken from it, and within seven days of the payment. `verdict` is as of now;
-- earlier attempts and their refusals stand beside it.
WITH (SELECT max(time) FROM ledger) AS newest
SELECT
    orders.appid AS appid,
    orders.pack_id AS pack_id,
    orders.price_micro_yuan / 1000000 AS yuan,
    orders.paid_at AS paid_at,
    orders.paid_at + toIntervalDay(7) AS refundable_until,
    packs.charged AS charged,
    multiIf(
        orders.status = 'refunded', 'was refunded',
        packs.charged > 0, 'no: calls were taken from it',
        refundable_until < newest, 'no: seven days are over',
        'yes'
    ) AS verdict,
    orders.refunded_at AS refunded_at,
    orders.refund_refused_because AS refused_because
FROM orders
INNER JOIN packs ON packs.appid = orders.appid AND packs.pack_id = orders.pack_id
WHERE orders.status != 'refused'
ORDER BY paid_at DESC, pack_id
