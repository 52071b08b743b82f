SELECT appid, label FROM apps ORDER BY label
