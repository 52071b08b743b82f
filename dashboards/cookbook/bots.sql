-- Is a bot draining an app?
-- A client on one day, or one minute of an app, with at least twenty authorizations and at least ten times the median of
-- its kind. A campaign makes a minute stand out and no client; a bot does both.
WITH
    clients AS
    (
        SELECT appid, toDate(time, 'Asia/Shanghai') AS day, client, count() AS authorizations, sum(authorizations.calls) AS calls
        FROM authorizations
        WHERE client != ''
        GROUP BY appid, day, client
    ),
    minutes AS
    (
        SELECT appid, toStartOfMinute(toTimeZone(time, 'Asia/Shanghai')) AS minute, count() AS authorizations, sum(authorizations.calls) AS calls
        FROM authorizations
        GROUP BY appid, minute
    )
SELECT appid, what, at, client, authorizations, calls, typical
FROM
(
    SELECT appid, 'client' AS what, toString(day) AS at, client, authorizations, calls, median(authorizations) OVER (PARTITION BY appid) AS typical
    FROM clients
    UNION ALL
    SELECT appid, 'minute' AS what, toString(minute) AS at, '' AS client, authorizations, calls, median(authorizations) OVER (PARTITION BY appid) AS typical
    FROM minutes
)
WHERE authorizations >= 20 AND authorizations >= 10 * typical
ORDER BY authorizations DESC, appid, at
LIMIT 50
