--@ user svc_loader
--@ starts 0m

ALTER TABLE raw.orders ADD COLUMN IF NOT EXISTS loyalty_tier VARCHAR;

ALTER TABLE raw.suppliers DROP COLUMN IF EXISTS lead_time_weeks;

ALTER TABLE raw.campaigns ALTER COLUMN budget TYPE DECIMAL(14, 2);

CREATE OR REPLACE TABLE raw.loyalty_members AS
SELECT customer_id, ['bronze','silver','gold'][1 + customer_id % 3] AS tier, DATE '{day}' AS member_since
FROM raw.customers WHERE customer_id % 4 = 0;

DROP TABLE IF EXISTS raw.orders_rejected;

INSERT INTO raw.orders (order_id, customer_id, ordered_at, status, sales_channel, currency_code, loyalty_tier)
SELECT base + i, 1 + ((base + i) * 7919) % 20000, TIMESTAMP '{now}', 'placed', 'app', 'EUR', 'gold'
FROM range(1, 501) AS t (i), (SELECT max(order_id) AS base FROM raw.orders);
