--@ user svc_loader
--@ starts 0m

ALTER TABLE raw.orders ADD COLUMN loyalty_tier VARCHAR;

ALTER TABLE raw.support_tickets RENAME COLUMN priority TO urgency;

ALTER TABLE raw.inventory_levels ALTER COLUMN units_on_hand TYPE BIGINT;

CREATE TABLE raw.loyalty_members AS
SELECT customer_id, ['bronze','silver','gold'][1 + customer_id % 3] AS tier, DATE '{today}' AS member_since
FROM raw.customers WHERE customer_id % 4 = 0;

DROP TABLE raw.orders_rejected;

INSERT INTO raw.orders
SELECT base + i, 1 + ((base + i) * 7919) % 20000, TIMESTAMP '{now}', 'placed', 'app', 'EUR', NULL, 'gold'
FROM range(1, 501) AS t (i), (SELECT max(order_id) AS base FROM raw.orders);
