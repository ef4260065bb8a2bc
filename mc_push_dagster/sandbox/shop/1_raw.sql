--@ user svc_loader
--@ starts -330m

CREATE SCHEMA raw;

CREATE TABLE raw.customers AS
SELECT
    i AS customer_id,
    ['Ana','Ben','Chloé','Dmitri','Elif','Femi','Grace','Hiro','Ines','Jamal'][1 + (i * 7) % 10] AS first_name,
    ['Silva','Okafor','Tanaka','Müller','Novak','Haddad','Larsen','Moreau','Rossi','Patel'][1 + (i * 13) % 10] AS last_name,
    'customer' || i || '@example.com' AS email,
    DATE '{today}' - ((i * 31) % 1460)::INTEGER AS signed_up_on,
    ['organic','paid_search','newsletter','referral'][1 + (i * 11) % 4] AS acquisition_channel,
    i % 17 = 0 AS is_business,
    CASE WHEN i % 5 = 0 THEN ['en','de','fr','pt','ja'][1 + i % 5] END AS preferred_language
FROM range(1, 20001) AS t (i);

CREATE TABLE raw.addresses AS
SELECT
    i AS address_id,
    1 + (i * 37) % 20000 AS customer_id,
    (1 + i % 220) || ' ' || ['Main St','Rua Augusta','Hauptstraße','Rue de Lyon','Sakura Dori'][1 + i % 5] AS street,
    ['Lisbon','Berlin','Lyon','Osaka','Austin'][1 + i % 5] AS city,
    ['PT','DE','FR','JP','US'][1 + i % 5] AS country_code,
    lpad(((i * 7919) % 99999)::VARCHAR, 5, '0') AS postal_code,
    {'lat': 30.0 + i % 30, 'lon': -9.0 + i % 140} AS location
FROM range(1, 20001) AS t (i);

CREATE TABLE raw.product_categories (
    category_id INTEGER PRIMARY KEY,
    category_name VARCHAR NOT NULL,
    parent_category_id INTEGER
);

INSERT INTO raw.product_categories VALUES
    (1, 'Kitchen', NULL), (2, 'Garden', NULL), (3, 'Toys', NULL), (4, 'Books', NULL), (5, 'Outdoor', 2),
    (6, 'Cookware', 1), (7, 'Puzzles', 3), (8, 'Comics', 4);

CREATE TABLE raw.suppliers AS
SELECT i AS supplier_id, 'Supplier ' || i AS supplier_name, ['PT','DE','FR','JP','US'][1 + i % 5] AS country_code,
       i % 4 AS lead_time_weeks
FROM range(1, 121) AS t (i);

CREATE TABLE raw.products AS
SELECT
    i AS product_id,
    'SKU-' || lpad(i::VARCHAR, 6, '0') AS sku,
    ['Pan','Kettle','Spade','Puzzle','Atlas','Tent','Ladle','Novel'][1 + i % 8] || ' ' || i AS product_name,
    1 + i % 8 AS category_id,
    1 + (i * 3) % 120 AS supplier_id,
    (199 + (i * 97) % 20000)::DECIMAL(10, 2) / 100 AS list_price,
    (99 + (i * 53) % 9000)::DECIMAL(10, 2) / 100 AS unit_cost,
    [['new','sale'], ['sale'], [], ['bestseller']][1 + i % 4] AS labels
FROM range(1, 2001) AS t (i);

CREATE TABLE raw.orders AS
SELECT
    i AS order_id,
    1 + (i * 7919) % 20000 AS customer_id,
    TIMESTAMP '{today} 00:00:00' - to_minutes((i * 17) % 1051200) AS ordered_at,
    ['placed','paid','shipped','delivered','cancelled'][1 + (i * 29) % 5] AS status,
    ['web','app','store','phone'][1 + (i * 3) % 4] AS sales_channel,
    ['EUR','USD','JPY'][1 + i % 3] AS currency_code,
    CASE WHEN i % 6 = 0 THEN 1 + i % 60 END AS campaign_id
FROM range(1, 60001) AS t (i);

CREATE TABLE raw.order_lines AS
SELECT
    i AS order_line_id,
    1 + i % 60000 AS order_id,
    1 + (i * 131) % 2000 AS product_id,
    1 + i % 4 AS quantity,
    (199 + (i * 89) % 18000)::DECIMAL(10, 2) / 100 AS unit_price,
    CASE WHEN i % 9 = 0 THEN 0.10 ELSE 0 END::DECIMAL(4, 2) AS discount_rate
FROM range(1, 150001) AS t (i);

CREATE TABLE raw.payments AS
SELECT i AS payment_id, i AS order_id, ['card','paypal','transfer','gift_card'][1 + i % 4] AS method,
       (500 + (i * 71) % 40000)::DECIMAL(12, 2) / 100 AS amount,
       TIMESTAMP '{today} 00:00:00' - to_minutes((i * 17) % 1051200 - 3) AS paid_at, i % 41 <> 0 AS is_successful
FROM range(1, 60001) AS t (i);

CREATE TABLE raw.shipments AS
SELECT i AS shipment_id, i AS order_id, ['DHL','UPS','CTT','Yamato'][1 + i % 4] AS carrier,
       DATE '{today}' - ((i * 17) % 730)::INTEGER AS shipped_on,
       CASE WHEN i % 3 <> 0 THEN DATE '{today}' - ((i * 17) % 730)::INTEGER + (2 + i % 5)::INTEGER END AS delivered_on
FROM range(1, 50001) AS t (i);

CREATE TABLE raw.returns AS
SELECT i AS return_id, i * 13 AS order_line_id, ['damaged','wrong size','late','changed mind'][1 + i % 4] AS reason,
       DATE '{today}' - ((i * 7) % 365)::INTEGER AS returned_on
FROM range(1, 6001) AS t (i);

CREATE TABLE raw.web_events AS
SELECT i AS event_id, 's' || (i // 6) AS session_key, CASE WHEN i % 3 = 0 THEN 1 + (i * 7) % 20000 END AS customer_id,
       ['page_view','search','add_to_cart','checkout'][1 + (i * 5) % 4] AS event_type,
       TIMESTAMP '{today} 00:00:00' - to_seconds((i * 41) % 2592000) AS occurred_at,
       {'page': '/p/' || (i % 2000), 'referrer': ['google','direct','mail'][1 + i % 3], 'ab_tests': ['t' || (i % 4)]} AS properties
FROM range(1, 80001) AS t (i);

CREATE TABLE raw.inventory_levels AS
SELECT p.product_id, w AS warehouse_code, (p.product_id * 17 + length(w)) % 400 AS units_on_hand, DATE '{today}' AS counted_on
FROM raw.products AS p CROSS JOIN (VALUES ('LIS-1'), ('BER-2'), ('OSA-3')) AS warehouses (w);

CREATE TABLE raw.campaigns AS
SELECT i AS campaign_id, 'Campaign ' || i AS campaign_name, ['search','social','mail'][1 + i % 3] AS medium,
       (1000 + i * 250)::DECIMAL(12, 2) AS budget
FROM range(1, 61) AS t (i);

CREATE TABLE raw.support_tickets AS
SELECT i AS ticket_id, 1 + (i * 19) % 20000 AS customer_id, ['low','normal','high'][1 + i % 3] AS priority,
       TIMESTAMP '{today} 00:00:00' - to_hours((i * 5) % 4000) AS opened_at,
       MAP {'source': ['mail','chat'][1 + i % 2], 'team': 'tier ' || (1 + i % 2)} AS tags
FROM range(1, 5001) AS t (i);

CREATE TABLE raw.fx_rates (currency_code VARCHAR, valid_on DATE, eur_rate DECIMAL(12, 6));

COPY raw.fx_rates FROM 'fx_rates.csv';

-- Bought with the gift shop that never opened.
CREATE TABLE raw.gift_cards (gift_card_id BIGINT, code VARCHAR, balance DECIMAL(10, 2), issued_at TIMESTAMPTZ);

CREATE TABLE raw."Kunden-Feedback (v2) ""final"".xlsx 🎈" AS
SELECT i AS "order.id", 1 + i % 5 AS "select", 'Kommentar Nr. ' || i AS "Ihr Kommentar 😀"
FROM range(1, 2501) AS t (i);

COMMENT ON TABLE raw.customers IS 'One row a customer, as the web shop exports them every night';

COMMENT ON COLUMN raw.customers.email IS 'Personal data: never leaves the raw schema unhashed';

COMMENT ON TABLE raw.orders IS 'One row an order, from the shop''s order service';

COMMENT ON TABLE raw.order_lines IS 'One row an item of an order';

COMMENT ON COLUMN raw.orders.status IS 'placed, paid, shipped, delivered or cancelled';
