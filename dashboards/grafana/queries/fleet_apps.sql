SELECT count() AS apps FROM apps WHERE appid IN (${app:singlequote})
