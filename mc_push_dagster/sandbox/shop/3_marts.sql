--@ user svc_transform
--@ starts -290m

CREATE SCHEMA marts;

USE marts;

CREATE TABLE dim_customers AS
SELECT c.customer_id, c.full_name, c.language, c.acquisition_channel, a.country_code, a.city,
       coalesce(h.orders, 0) AS orders, h.first_order_at, h.last_order_at, h.lifetime_value_eur
FROM staging.stg_customers AS c
LEFT JOIN (
    SELECT customer_id, any_value(country_code ORDER BY address_id) AS country_code, any_value(city ORDER BY address_id) AS city
    FROM staging.stg_addresses GROUP BY customer_id
) AS a USING (customer_id)
LEFT JOIN staging.int_customer_orders AS h USING (customer_id);

CREATE TABLE dim_products AS SELECT * FROM staging.stg_products;

CREATE TABLE dim_dates AS
SELECT day::DATE AS day, year(day) AS year, quarter(day) AS quarter, month(day) AS month, dayname(day) AS weekday
FROM range(TIMESTAMP '{today}' - INTERVAL 730 DAY, TIMESTAMP '{today}' + INTERVAL 1 DAY, INTERVAL 1 DAY) AS t (day);

CREATE TABLE fct_order_lines AS
SELECT l.order_line_id, l.order_id, o.customer_id, l.product_id, o.ordered_at, o.ordered_on, o.sales_channel, l.quantity,
       l.net_amount_eur, l.net_amount_eur - l.cost_eur AS margin_eur, r.return_reason
FROM staging.int_order_lines_priced AS l
JOIN staging.stg_orders AS o USING (order_id)
LEFT JOIN staging.stg_returns AS r USING (order_line_id);

CREATE TABLE fct_orders AS
WITH totals AS (
    SELECT order_id, sum(net_amount_eur) AS net_amount_eur, sum(quantity) AS items FROM fct_order_lines GROUP BY order_id
)
SELECT o.order_id, o.customer_id, o.ordered_at, o.ordered_on, o.status, o.sales_channel, o.campaign_id, t.items,
       t.net_amount_eur, p.paid_amount, p.paid_at, s.carrier, s.days_in_transit
FROM staging.stg_orders AS o
JOIN totals AS t USING (order_id)
LEFT JOIN staging.int_orders_paid AS p ON p.order_id = o.order_id
LEFT JOIN staging.stg_shipments AS s ON s.order_id = o.order_id;

CREATE TABLE daily_revenue (day DATE, sales_channel VARCHAR, orders BIGINT, revenue_eur DECIMAL(18, 2));

INSERT INTO daily_revenue (day, sales_channel, orders, revenue_eur)
SELECT ordered_on, sales_channel, count(*), sum(net_amount_eur) FROM fct_orders GROUP BY ALL;

CREATE VIEW weekly_revenue AS
WITH weeks AS (
    SELECT date_trunc('week', day)::DATE AS week, sales_channel, sum(orders) AS orders, sum(revenue_eur) AS revenue_eur
    FROM daily_revenue
    GROUP BY ALL
)
SELECT *, sum(revenue_eur) OVER (PARTITION BY sales_channel ORDER BY week) AS running_revenue_eur FROM weeks;

CREATE TABLE customer_lifetime_value AS
SELECT customer_id, lifetime_value_eur, ntile(10) OVER (ORDER BY lifetime_value_eur, customer_id) AS decile
FROM dim_customers
WHERE lifetime_value_eur IS NOT NULL;

CREATE TABLE product_performance AS
SELECT l.product_id, p.product_name, p.category_name, sum(l.quantity) AS units, sum(l.net_amount_eur) AS revenue_eur,
       sum(l.margin_eur) AS margin_eur, count(l.return_reason) AS returns
FROM fct_order_lines AS l
JOIN dim_products AS p USING (product_id)
GROUP BY ALL;

CREATE VIEW category_performance AS
SELECT category_name, sum(units) AS units, sum(revenue_eur) AS revenue_eur, rank() OVER (ORDER BY sum(revenue_eur) DESC) AS place
FROM product_performance
GROUP BY category_name;

CREATE TABLE channel_attribution AS
SELECT o.campaign_id, c.campaign_name, c.medium, count(*) AS orders, sum(o.net_amount_eur) AS revenue_eur,
       sum(o.net_amount_eur) / any_value(c.budget) AS return_on_spend
FROM fct_orders AS o
JOIN raw.campaigns AS c ON c.campaign_id = o.campaign_id
GROUP BY ALL;

CREATE VIEW inventory_health AS
SELECT p.product_id, p.product_name, i.units_on_hand, f.units AS units_sold, i.units_on_hand < 100 AS is_low
FROM dim_products AS p
JOIN staging.stg_inventory AS i USING (product_id)
LEFT JOIN product_performance AS f USING (product_id);

CREATE VIEW support_overview AS
SELECT t.team, t.priority, count(*) AS tickets, count(DISTINCT t.customer_id) AS customers, avg(c.lifetime_value_eur) AS average_value_eur
FROM staging.stg_support_tickets AS t
JOIN dim_customers AS c USING (customer_id)
GROUP BY ALL;

CREATE TABLE cohort_retention AS
WITH cohorts AS (
    SELECT customer_id, date_trunc('month', first_order_at) AS cohort FROM dim_customers WHERE first_order_at IS NOT NULL
),
activity AS (
    SELECT DISTINCT customer_id, date_trunc('month', ordered_at) AS active_month FROM fct_orders
)
SELECT cohort::DATE AS cohort, datediff('month', cohort, active_month) AS months_later, count(*) AS customers
FROM cohorts
JOIN activity USING (customer_id)
GROUP BY ALL;

CREATE VIEW top_customers AS
SELECT d.customer_id, d.full_name, d.country_code, v.lifetime_value_eur
FROM dim_customers AS d
JOIN customer_lifetime_value AS v USING (customer_id)
WHERE v.decile = 10;

CREATE VIEW feedback_by_product AS
SELECT l.product_id, avg(f.score) AS average_score, count(*) AS comments
FROM staging.stg_feedback AS f
JOIN fct_order_lines AS l USING (order_id)
GROUP BY l.product_id;

CREATE VIEW executive_dashboard AS
SELECT w.week, w.sales_channel, w.revenue_eur, w.running_revenue_eur, c.category_name AS best_category
FROM weekly_revenue AS w
CROSS JOIN (SELECT category_name FROM category_performance WHERE place = 1) AS c;

CREATE TABLE web_conversion AS
SELECT started_at::DATE AS day, referrer, count(*) AS sessions, count(*) FILTER (reached_checkout) AS checkouts
FROM staging.stg_web_sessions
GROUP BY ALL;

COMMENT ON TABLE fct_orders IS 'One row an order, priced in euro; the source of all revenue figures';

COMMENT ON COLUMN fct_orders.net_amount_eur IS 'After discounts, before returns';

COMMENT ON VIEW executive_dashboard IS 'What the Monday meeting looks at';
