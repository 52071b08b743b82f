SELECT appid FROM apps ORDER BY appid
