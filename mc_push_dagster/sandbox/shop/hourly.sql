--@ user svc_loader
--@ starts 4m

INSERT INTO raw.orders (order_id, customer_id, ordered_at, status, sales_channel, currency_code, campaign_id)
SELECT base + i, 1 + ((base + i) * 7919) % 20000, TIMESTAMP '{hour}' + to_seconds(i * 9 % 3600),
       ['placed','paid'][1 + i % 2], ['web','app','store','phone'][1 + i % 4], ['EUR','USD','JPY'][1 + i % 3], NULL
FROM range(1, 121) AS t (i), (SELECT max(order_id) AS base FROM raw.orders);

INSERT INTO raw.order_lines
SELECT base.line + row_number() OVER (ORDER BY o.order_id), o.order_id, 1 + (o.order_id * 131) % 2000, 1 + o.order_id % 3,
       (499 + o.order_id % 9000)::DECIMAL(10, 2) / 100, 0
FROM raw.orders AS o, (SELECT max(order_line_id) AS line, max(order_id) AS ord FROM raw.order_lines) AS base
WHERE o.order_id > base.ord;

--@ user svc_transform
--@ starts 11m

MERGE INTO marts.daily_revenue AS target
USING (
    SELECT o.ordered_on AS day, o.sales_channel, count(DISTINCT o.order_id) AS orders,
           sum(l.quantity * l.unit_price * fx.eur_rate)::DECIMAL(18, 2) AS revenue_eur
    FROM staging.stg_orders AS o
    JOIN staging.stg_order_lines AS l USING (order_id)
    JOIN staging.stg_fx_rates AS fx ON fx.currency_code = o.currency_code
    WHERE o.ordered_on = DATE '{day}'
    GROUP BY ALL
) AS source
ON target.day = source.day AND target.sales_channel = source.sales_channel
WHEN MATCHED THEN UPDATE SET orders = source.orders, revenue_eur = source.revenue_eur
WHEN NOT MATCHED THEN INSERT (day, sales_channel, orders, revenue_eur)
    VALUES (source.day, source.sales_channel, source.orders, source.revenue_eur);

CREATE OR REPLACE TABLE marts.orders_last_hours AS
SELECT date_trunc('hour', ordered_at) AS hour, sales_channel, count(*) AS orders
FROM staging.stg_orders WHERE ordered_at >= TIMESTAMP '{hour}' - INTERVAL 23 HOUR GROUP BY ALL;

--@ user svc_dashboard
--@ starts 15m

USE marts;

SELECT sum(revenue_eur) AS revenue_today_eur, sum(orders) AS orders_today FROM daily_revenue WHERE day = DATE '{day}';

SELECT week, sales_channel, revenue_eur FROM executive_dashboard WHERE week >= DATE '{day}' - 56 ORDER BY week;

SELECT category_name, units, revenue_eur FROM category_performance ORDER BY place LIMIT 5;

SELECT product_name, units_on_hand FROM inventory_health WHERE is_low ORDER BY units_on_hand LIMIT 25;

SELECT hour, sales_channel, orders FROM orders_last_hours ORDER BY hour, sales_channel;

SELECT team, priority, tickets FROM support_overview ORDER BY team, priority;

--@ user svc_dashboard
--@ starts 45m

USE marts;

SELECT sum(revenue_eur) AS revenue_today_eur, sum(orders) AS orders_today FROM daily_revenue WHERE day = DATE '{day}';

SELECT hour, sales_channel, orders FROM orders_last_hours ORDER BY hour, sales_channel;
