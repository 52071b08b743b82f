SELECT DISTINCT capability FROM balances_now ORDER BY capability
