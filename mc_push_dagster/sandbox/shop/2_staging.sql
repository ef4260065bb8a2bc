--@ user svc_transform
--@ starts -310m

CREATE SCHEMA staging;

USE staging;

CREATE VIEW stg_customers AS
SELECT customer_id, first_name || ' ' || last_name AS full_name, md5(lower(email)) AS email_hash, signed_up_on,
       acquisition_channel, is_business, coalesce(preferred_language, 'en') AS language
FROM raw.customers;

CREATE VIEW stg_addresses AS
SELECT address_id, customer_id, city, country_code, postal_code, location.lat AS latitude, location.lon AS longitude
FROM raw.addresses;

CREATE VIEW stg_products AS
SELECT p.product_id, p.sku, p.product_name, c.category_name, coalesce(parent.category_name, c.category_name) AS department,
       s.supplier_name, p.list_price, p.unit_cost, p.list_price - p.unit_cost AS unit_margin
FROM raw.products AS p
JOIN raw.product_categories AS c USING (category_id)
LEFT JOIN raw.product_categories AS parent ON c.parent_category_id = parent.category_id
JOIN raw.suppliers AS s USING (supplier_id);

CREATE VIEW stg_orders AS
SELECT order_id, customer_id, ordered_at, ordered_at::DATE AS ordered_on, status, sales_channel, currency_code, campaign_id
FROM raw.orders
WHERE status <> 'test';

CREATE VIEW stg_order_lines AS SELECT * FROM raw.order_lines;

CREATE VIEW stg_payments AS
SELECT payment_id, order_id, method, amount, paid_at FROM raw.payments WHERE is_successful;

CREATE VIEW stg_shipments AS
SELECT *, delivered_on - shipped_on AS days_in_transit FROM raw.shipments;

CREATE VIEW stg_returns AS SELECT return_id, order_line_id, reason AS return_reason, returned_on FROM raw.returns;

CREATE VIEW stg_fx_rates AS
SELECT currency_code, eur_rate FROM raw.fx_rates
QUALIFY row_number() OVER (PARTITION BY currency_code ORDER BY valid_on DESC) = 1;

CREATE VIEW stg_support_tickets AS
SELECT ticket_id, customer_id, priority, opened_at, tags['source'] AS source, tags['team'] AS team FROM raw.support_tickets;

CREATE VIEW stg_inventory AS
SELECT product_id, sum(units_on_hand) AS units_on_hand, max(counted_on) AS counted_on FROM raw.inventory_levels GROUP BY product_id;

CREATE VIEW stg_feedback AS
SELECT "order.id" AS order_id, "select" AS score, "Ihr Kommentar 😀" AS comment
FROM raw."Kunden-Feedback (v2) ""final"".xlsx 🎈";

CREATE TABLE stg_web_sessions AS
WITH numbered AS (
    SELECT session_key, customer_id, occurred_at, event_type, properties.referrer AS referrer,
           row_number() OVER (PARTITION BY session_key ORDER BY occurred_at) AS position
    FROM raw.web_events
)
SELECT session_key, max(customer_id) AS customer_id, min(occurred_at) AS started_at, max(occurred_at) AS ended_at,
       count(*) AS events, bool_or(event_type = 'checkout') AS reached_checkout,
       max(CASE WHEN position = 1 THEN referrer END) AS referrer
FROM numbered
GROUP BY session_key;

CREATE TABLE int_order_lines_priced AS
SELECT l.order_line_id, l.order_id, l.product_id, l.quantity,
       round(l.quantity * l.unit_price * (1 - l.discount_rate) * fx.eur_rate, 2) AS net_amount_eur,
       l.quantity * p.unit_cost AS cost_eur
FROM stg_order_lines AS l
JOIN stg_orders AS o USING (order_id)
JOIN stg_products AS p USING (product_id)
JOIN stg_fx_rates AS fx ON fx.currency_code = o.currency_code;

CREATE VIEW int_orders_paid AS
SELECT o.*, p.amount AS paid_amount, p.paid_at
FROM stg_orders AS o
JOIN stg_payments AS p ON p.order_id = o.order_id;

CREATE TABLE int_customer_orders (
    customer_id BIGINT,
    orders BIGINT,
    first_order_at TIMESTAMP,
    last_order_at TIMESTAMP,
    lifetime_value_eur DECIMAL(18, 2)
);

INSERT INTO int_customer_orders
SELECT o.customer_id, count(DISTINCT o.order_id), min(o.ordered_at), max(o.ordered_at), sum(l.net_amount_eur)
FROM stg_orders AS o
JOIN int_order_lines_priced AS l USING (order_id)
GROUP BY o.customer_id;

CREATE TABLE customer_history AS
SELECT customer_id, email_hash, language, signed_up_on AS valid_from, NULL::DATE AS valid_to FROM stg_customers
WHERE customer_id % 2 = 0;

MERGE INTO customer_history AS target
USING (SELECT customer_id, email_hash, language FROM stg_customers) AS source
ON target.customer_id = source.customer_id
WHEN MATCHED AND target.language <> source.language THEN UPDATE SET language = source.language
WHEN NOT MATCHED THEN INSERT (customer_id, email_hash, language, valid_from)
    VALUES (source.customer_id, source.email_hash, source.language, DATE '{today}');

-- A backfill that was not needed after all.
CREATE TABLE tmp_backfill AS SELECT * FROM stg_orders WHERE ordered_on < DATE '{today}' - 700;

DROP TABLE tmp_backfill;

COMMENT ON VIEW stg_customers IS 'Customers without personal data';

COMMENT ON TABLE int_order_lines_priced IS 'Order items in euro, with their cost';
