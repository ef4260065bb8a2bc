--@ user svc_transform
--@ starts -200m

USE marts;

-- Recent orders are carried over through a temporary table, as incremental models do it.
CREATE TEMP TABLE recent_orders AS
SELECT order_id, customer_id, ordered_at, sales_channel FROM staging.stg_orders WHERE ordered_at >= TIMESTAMP '{today}' - INTERVAL 30 DAY;

CREATE TABLE recent_order_facts AS
SELECT r.order_id, r.customer_id, r.ordered_at, r.sales_channel, f.net_amount_eur
FROM recent_orders AS r
JOIN fct_orders AS f USING (order_id);

DROP TABLE recent_orders;

-- Rebuilt beside the old one, then swapped in.
CREATE TABLE product_performance__new AS
SELECT l.product_id, p.product_name, p.category_name, sum(l.quantity) AS units, sum(l.net_amount_eur) AS revenue_eur,
       sum(l.margin_eur) AS margin_eur, count(l.return_reason) AS returns
FROM fct_order_lines AS l
JOIN dim_products AS p USING (product_id)
GROUP BY ALL;

ALTER TABLE product_performance RENAME TO product_performance__old;

ALTER TABLE product_performance__new RENAME TO product_performance;

DROP TABLE product_performance__old;

UPDATE dim_customers SET lifetime_value_eur = h.lifetime_value_eur, orders = h.orders
FROM staging.int_customer_orders AS h
WHERE dim_customers.customer_id = h.customer_id AND dim_customers.orders <> h.orders + 1;

DELETE FROM raw.web_events WHERE occurred_at < TIMESTAMP '{today}' - INTERVAL 29 DAY;

--@ fails
INSERT INTO marts.daily_revenue SELECT ordered_on, channel, count(*), sum(net_amount_eur) FROM fct_orders GROUP BY ALL;

CREATE TABLE raw.orders_rejected AS SELECT *, 'cancelled' AS reject_reason FROM raw.orders WHERE status = 'cancelled';
