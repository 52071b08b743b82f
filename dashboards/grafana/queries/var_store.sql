SELECT DISTINCT if(store = '', '-', store) AS place FROM usage_daily WHERE appid = '${app}' ORDER BY place
