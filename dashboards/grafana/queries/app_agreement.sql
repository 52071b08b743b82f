SELECT capability, if(pack_id = '', '-', pack_id) AS pack, used, charged, difference, since, observed_at, stays ? 'yes' : 'no' AS staying
FROM agreement
WHERE appid = '${app}' AND capability IN (${capability:singlequote})
ORDER BY staying DESC, abs(difference) DESC, capability, pack
LIMIT 200
