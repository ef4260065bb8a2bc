--@ user ana.silva
--@ starts -150m

USE marts;

SELECT country_code, count(*) AS customers, sum(lifetime_value_eur) AS value_eur
FROM dim_customers GROUP BY country_code ORDER BY value_eur DESC;

SELECT p.department, sum(l.margin_eur) AS margin_eur
FROM fct_order_lines AS l JOIN dim_products AS p USING (product_id)
GROUP BY p.department ORDER BY margin_eur DESC;

--@ fails
SELECT departement, sum(margin) FROM fct_order_lines GROUP BY 1;

WITH repeat_buyers AS (SELECT customer_id FROM fct_orders GROUP BY customer_id HAVING count(*) > 3)
SELECT c.acquisition_channel, count(*) FROM repeat_buyers JOIN dim_customers AS c USING (customer_id) GROUP BY 1;

--@ user ben.okafor
--@ starts -95m

USE marts;

SELECT cohort, months_later, customers FROM cohort_retention ORDER BY cohort, months_later LIMIT 50;

SELECT * FROM top_customers ORDER BY lifetime_value_eur DESC LIMIT 20;

CREATE TABLE marts.ben_churn_experiment AS
SELECT customer_id, last_order_at < TIMESTAMP '{today}' - INTERVAL 180 DAY AS is_churned, lifetime_value_eur FROM dim_customers;

SELECT is_churned, avg(lifetime_value_eur) FROM ben_churn_experiment GROUP BY 1;

--@ user mei.tanaka
--@ starts -50m

USE staging;

SELECT carrier, avg(days_in_transit) AS days, count(*) FILTER (delivered_on IS NULL) AS open FROM stg_shipments GROUP BY carrier;

SELECT referrer, avg(events) FROM stg_web_sessions GROUP BY referrer;

SELECT score, count(*) FROM stg_feedback GROUP BY score ORDER BY score;
