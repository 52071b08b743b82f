-- Which packs can still be given back?
-- A pack is refunded only if nothing was taken from it, and within seven days of the payment, or of the assignment by an
-- agency. `verdict` is as of now; earlier attempts and their refusals stand beside it.
WITH (SELECT now FROM clock) AS at
SELECT
    orders.appid AS appid,
    orders.pack_id AS pack_id,
    orders.price_micro_yuan / 1000000 AS yuan,
    orders.paid_at AS paid_at,
    coalesce(orders.assigned_at, orders.paid_at) + toIntervalDay(7) AS refundable_until,
    packs.charged AS charged,
    multiIf(
        orders.status = 'refunded', 'was refunded',
        packs.charged + packs.used_before > 0, 'no: calls were taken from it',
        refundable_until < at, 'no: seven days are over',
        'yes'
    ) AS verdict,
    orders.refunded_at AS refunded_at,
    orders.refund_refused_because AS refused_because
FROM orders
INNER JOIN packs ON packs.appid = orders.appid AND packs.pack_id = orders.pack_id
WHERE orders.status NOT IN ('refused', 'void')
ORDER BY paid_at DESC, pack_id
