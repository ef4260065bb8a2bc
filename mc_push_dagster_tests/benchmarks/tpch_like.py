"""A small trading company in the manner of TPC-H: data of our own, and its 22 business questions in our own SQL."""

from __future__ import annotations

from random import Random

import duckdb

_TABLES = {
    "region": "r_regionkey INT, r_name VARCHAR, r_comment VARCHAR",
    "nation": "n_nationkey INT, n_name VARCHAR, n_regionkey INT, n_comment VARCHAR",
    "supplier": "s_suppkey INT, s_name VARCHAR, s_address VARCHAR, s_nationkey INT, s_phone VARCHAR,"
    " s_acctbal DECIMAL(12,2), s_comment VARCHAR",
    "customer": "c_custkey INT, c_name VARCHAR, c_address VARCHAR, c_nationkey INT, c_phone VARCHAR,"
    " c_acctbal DECIMAL(12,2), c_mktsegment VARCHAR, c_comment VARCHAR",
    "part": "p_partkey INT, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, p_size INT,"
    " p_container VARCHAR, p_retailprice DECIMAL(12,2), p_comment VARCHAR",
    "partsupp": "ps_partkey INT, ps_suppkey INT, ps_availqty INT, ps_supplycost DECIMAL(12,2), ps_comment VARCHAR",
    "orders": "o_orderkey INT, o_custkey INT, o_orderstatus VARCHAR, o_totalprice DECIMAL(12,2), o_orderdate DATE,"
    " o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority INT, o_comment VARCHAR",
    "lineitem": "l_orderkey INT, l_partkey INT, l_suppkey INT, l_linenumber INT, l_quantity INT,"
    " l_extendedprice DECIMAL(12,2), l_discount DECIMAL(4,2), l_tax DECIMAL(4,2), l_returnflag VARCHAR,"
    " l_linestatus VARCHAR, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR,"
    " l_shipmode VARCHAR, l_comment VARCHAR",
}
_COUNTS = {"region": 5, "nation": 15, "supplier": 30, "customer": 90, "part": 80, "partsupp": 240}
_ORDERS, _LINES = 400, 1600


def fill(connection: duckdb.DuckDBPyConnection, *, seed: int = 7) -> None:
    """Make the eight tables with about 2,500 rows; the same seed makes the same rows."""
    for table, columns in _TABLES.items():
        connection.execute(f"CREATE TABLE {table} ({columns})")
    for table, rows in _rows(Random(seed)).items():
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _rows(random: Random) -> dict[str, list[tuple]]:
    def word() -> str:
        return "".join(random.choices("abcdefghijklmnop", k=8))

    def money() -> float:
        return random.randrange(-20_000, 900_000) / 100

    def day(first: int = 0, last: int = 700) -> str:
        offset = random.randrange(first, last)
        return f"{1995 + offset // 336}-{offset // 28 % 12 + 1:02}-{offset % 28 + 1:02}"

    def phone() -> str:
        return f"{random.randrange(10, 16)}-{random.randrange(100, 999)}-{random.randrange(1000, 9999)}"

    kinds, metals = ("SMALL", "LARGE", "PROMO"), ("TIN", "COPPER", "BRASS")
    nations, suppliers, customers, parts = (_COUNTS[t] for t in ("nation", "supplier", "customer", "part"))
    sold = [(i % parts + 1, (i * 7 + i // parts) % suppliers + 1) for i in range(_COUNTS["partsupp"])]
    orders = [
        (
            *(
                i,
                random.randrange(1, customers - 20),
                random.choice("FOP"),
                abs(money()),
                day(),
                f"{i % 5 + 1}-{word()[:3]}",
            ),
            *(word(), random.randrange(3), random.choice([word(), f"special {word()} requests"])),
        )
        for i in range(1, _ORDERS + 1)
    ]
    lines = []
    for i in range(_LINES):
        part, supplier = random.choice(sold)
        dates = (day(), day(), day())
        lines.append(
            (
                *(random.randrange(1, _ORDERS + 1), part, supplier, i % 4 + 1, random.randrange(1, 51), abs(money())),
                *(random.randrange(11) / 100, random.randrange(9) / 100, random.choice("ANR"), random.choice("FO")),
                *(*dates, random.choice(["IN PERSON", "COD"]), random.choice(["AIR", "RAIL", "SHIP", "MAIL"]), word()),
            )
        )
    return {
        "region": [(i, f"REGION {i}", word()) for i in range(5)],
        "nation": [(i, f"NATION {i}", i % 5, word()) for i in range(nations)],
        "supplier": [
            (
                i,
                f"Supplier {i}",
                word(),
                random.randrange(nations),
                phone(),
                money(),
                random.choice([word(), "Complaints"]),
            )
            for i in range(1, suppliers + 1)
        ],
        "customer": [
            (
                i,
                f"Customer {i}",
                word(),
                random.randrange(nations),
                phone(),
                money(),
                random.choice(["CARS", "TOYS"]),
                word(),
            )
            for i in range(1, customers + 1)
        ],
        "part": [
            (
                *(i, f"{random.choice(['green', 'forest', 'blue'])} {word()}", f"M{i % 3}", f"Brand {i % 4}"),
                *(
                    f"{random.choice(kinds)} {random.choice(metals)}",
                    i % 10,
                    random.choice(["BOX", "BAG"]),
                    abs(money()),
                    word(),
                ),
            )
            for i in range(1, parts + 1)
        ],
        "partsupp": [(p, s, random.randrange(1, 999), abs(money()) / 50, word()) for p, s in sold],
        "orders": orders,
        "lineitem": lines,
    }


QUESTIONS = {
    "pricing summary": """
        SELECT l_returnflag, l_linestatus, sum(l_quantity) AS quantity, sum(l_extendedprice) AS gross,
               sum(l_extendedprice * (1 - l_discount)) AS net,
                   sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS charged,
               avg(l_quantity) AS mean_quantity, avg(l_discount) AS mean_discount, count(*) AS lines
        FROM lineitem WHERE l_shipdate <= DATE '1996-11-01' GROUP BY ALL""",
    "cheapest supplier": """
        SELECT s.s_acctbal, s.s_name, n.n_name, p.p_partkey, p.p_mfgr, s.s_address, s.s_phone, ps.ps_supplycost
        FROM part p JOIN partsupp ps ON ps.ps_partkey = p.p_partkey JOIN supplier s ON s.s_suppkey = ps.ps_suppkey
        JOIN nation n ON n.n_nationkey = s.s_nationkey JOIN region r ON r.r_regionkey = n.n_regionkey
        WHERE p.p_size < 6 AND r.r_name <> 'REGION 1' AND ps.ps_supplycost = (
            SELECT min(x.ps_supplycost) FROM partsupp x WHERE x.ps_partkey = p.p_partkey)""",
    "shipping priority": """
        SELECT o.o_orderkey, sum(l.l_extendedprice * (1 - l.l_discount)) AS revenue, o.o_orderdate, o.o_shippriority
        FROM customer c, orders o, lineitem l
        WHERE c.c_mktsegment = 'TOYS' AND c.c_custkey = o.o_custkey AND l.l_orderkey = o.o_orderkey
          AND o.o_orderdate < DATE '1996-06-01' GROUP BY o.o_orderkey, o.o_orderdate, o.o_shippriority""",
    "order priority": """
        SELECT o_orderpriority, count(*) AS late FROM orders
        WHERE EXISTS (SELECT 1 FROM lineitem WHERE l_orderkey = o_orderkey AND l_commitdate < l_receiptdate)
        GROUP BY o_orderpriority""",
    "local volume": """
        WITH sold AS (
            SELECT n.n_name, l.l_extendedprice * (1 - l.l_discount) AS net
            FROM lineitem l JOIN orders o ON o.o_orderkey = l.l_orderkey JOIN customer c ON c.c_custkey = o.o_custkey
            JOIN supplier s ON s.s_suppkey = l.l_suppkey JOIN nation n ON n.n_nationkey = s.s_nationkey
            WHERE c.c_nationkey < 12 AND o.o_orderdate >= DATE '1995-06-01')
        SELECT n_name AS nation, sum(net) AS revenue FROM sold GROUP BY n_name""",
    "forecast change": """
        SELECT sum(l_extendedprice * l_discount) AS more FROM lineitem
        WHERE l_discount BETWEEN 0.02 AND 0.08 AND l_quantity < 40 AND year(l_shipdate) = 1995""",
    "volume between nations": """
        SELECT a.n_name AS supplying, b.n_name AS buying, year(l.l_shipdate) AS of_year,
               sum(l.l_extendedprice - l.l_extendedprice * l.l_discount) AS revenue
        FROM supplier s JOIN lineitem l ON s.s_suppkey = l.l_suppkey JOIN orders o ON o.o_orderkey = l.l_orderkey
        JOIN customer c ON c.c_custkey = o.o_custkey JOIN nation a ON a.n_nationkey = s.s_nationkey
        JOIN nation b ON b.n_nationkey = c.c_nationkey WHERE a.n_name <> b.n_name GROUP BY 1, 2, 3""",
    "market share": """
        SELECT of_year, sum(CASE WHEN nation = 'NATION 3' THEN volume ELSE 0 END) / sum(volume) AS share
        FROM (SELECT year(o.o_orderdate) AS of_year, l.l_extendedprice * (1 - l.l_discount) AS volume,
            n.n_name AS nation
              FROM lineitem l JOIN orders o ON o.o_orderkey = l.l_orderkey
                  JOIN supplier s ON s.s_suppkey = l.l_suppkey
              JOIN nation n ON n.n_nationkey = s.s_nationkey JOIN part p ON p.p_partkey = l.l_partkey
              WHERE p.p_type LIKE '%TIN') AS sales GROUP BY of_year""",
    "profit by product": """
        SELECT n.n_name AS nation, extract(year FROM o.o_orderdate) AS of_year,
               sum(l.l_extendedprice * (1 - l.l_discount) - ps.ps_supplycost * l.l_quantity) AS profit
        FROM lineitem l JOIN partsupp ps ON ps.ps_partkey = l.l_partkey AND ps.ps_suppkey = l.l_suppkey
        JOIN part p ON p.p_partkey = l.l_partkey JOIN supplier s ON s.s_suppkey = l.l_suppkey
        JOIN orders o ON o.o_orderkey = l.l_orderkey JOIN nation n ON n.n_nationkey = s.s_nationkey
        WHERE p.p_name LIKE '%green%' GROUP BY 1, 2""",
    "returned items": """
        SELECT c.c_custkey, c.c_name, sum(l.l_extendedprice * (1 - l.l_discount)) AS lost, c.c_acctbal, n.n_name,
               c.c_address, c.c_phone, c.c_comment
        FROM customer c JOIN orders o ON o.o_custkey = c.c_custkey JOIN lineitem l ON l.l_orderkey = o.o_orderkey
        JOIN nation n ON n.n_nationkey = c.c_nationkey WHERE l.l_returnflag = 'R' GROUP BY ALL""",
    "important stock": """
        SELECT ps_partkey, sum(ps_supplycost * ps_availqty) AS worth FROM partsupp
        JOIN supplier ON ps_suppkey = s_suppkey WHERE s_nationkey < 9 GROUP BY ps_partkey
        HAVING sum(ps_supplycost * ps_availqty) > (SELECT sum(ps_supplycost * ps_availqty) * 0.002 FROM partsupp)""",
    "shipping modes": """
        SELECT l_shipmode, count(*) FILTER (o_orderpriority < '3') AS urgent,
               sum(if(o_orderpriority >= '3', 1, 0)) AS other
        FROM orders JOIN lineitem ON o_orderkey = l_orderkey
        WHERE l_shipmode IN ('MAIL', 'SHIP') AND l_receiptdate >= DATE '1995-03-01' GROUP BY l_shipmode""",
    "customer distribution": """
        SELECT orders_of, count(*) AS customers FROM (
            SELECT c_custkey, count(o_orderkey) AS orders_of FROM customer

                           LEFT JOIN orders ON c_custkey = o_custkey
                               AND o_comment NOT LIKE 'special%' GROUP BY c_custkey) GROUP BY orders_of""",
    "promotion effect": """
        SELECT 100.0 * sum(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) END)
               / sum(l_extendedprice * (1 - l_discount)) AS promoted
        FROM lineitem, part WHERE l_partkey = p_partkey AND l_shipdate >= DATE '1995-05-01'""",
    "top supplier": """
        WITH revenue AS (
            SELECT l_suppkey AS supplier, sum(l_extendedprice * (1 - l_discount)) AS total
                FROM lineitem GROUP BY l_suppkey)
        SELECT s_suppkey, s_name, s_address, s_phone, total FROM supplier JOIN revenue ON s_suppkey = supplier
        WHERE total > (SELECT avg(total) FROM revenue)""",
    "parts and suppliers": """
        SELECT p_brand, p_type, p_size, count(DISTINCT ps_suppkey) AS suppliers FROM partsupp
            JOIN part ON p_partkey = ps_partkey
        WHERE p_brand <> 'Brand 1' AND ps_suppkey NOT IN (SELECT s_suppkey FROM supplier
            WHERE s_comment LIKE '%Complaints%')
        GROUP BY ALL""",
    "small quantities": """
        SELECT sum(l.l_extendedprice) / 7.0 AS yearly FROM lineitem l JOIN part p ON p.p_partkey = l.l_partkey
        WHERE p.p_container = 'BOX' AND l.l_quantity < (
            SELECT 0.8 * avg(x.l_quantity) FROM lineitem x WHERE x.l_partkey = p.p_partkey)""",
    "large orders": """
        SELECT c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity) AS quantity
        FROM customer, orders, lineitem
        WHERE o_orderkey IN (SELECT l_orderkey FROM lineitem GROUP BY l_orderkey HAVING sum(l_quantity) > 120)
          AND c_custkey = o_custkey AND o_orderkey = l_orderkey GROUP BY ALL""",
    "discounted revenue": """
        SELECT sum(l_extendedprice * (1 - l_discount)) AS revenue FROM lineitem JOIN part ON p_partkey = l_partkey
        WHERE (p_brand = 'Brand 1' AND l_quantity < 30 AND p_size < 8) OR (p_brand = 'Brand 2'
            AND l_shipmode = 'AIR')""",
    "promotable suppliers": """
        SELECT s_name, s_address FROM supplier JOIN nation ON s_nationkey = n_nationkey
        WHERE n_name <> 'NATION 2' AND s_suppkey IN (
            SELECT ps_suppkey FROM partsupp WHERE ps_partkey IN (SELECT p_partkey FROM part
                WHERE p_name LIKE 'forest%')
              AND ps_availqty > (SELECT 0.1 * sum(l_quantity) FROM lineitem WHERE l_partkey = ps_partkey
                  AND l_suppkey = ps_suppkey))""",
    "waiting suppliers": """
        SELECT s_name, count(*) AS waits FROM supplier JOIN lineitem a ON s_suppkey = a.l_suppkey
        JOIN orders ON o_orderkey = a.l_orderkey AND o_orderstatus = 'F'
        WHERE a.l_receiptdate > a.l_commitdate
          AND EXISTS (SELECT 1 FROM lineitem b WHERE b.l_orderkey = a.l_orderkey AND b.l_suppkey <> a.l_suppkey)
          AND NOT EXISTS (SELECT 1 FROM lineitem c WHERE c.l_orderkey = a.l_orderkey AND c.l_suppkey <> a.l_suppkey
                          AND c.l_receiptdate > c.l_commitdate AND c.l_quantity > 30)
        GROUP BY s_name""",
    "sales opportunity": """
        SELECT code, count(*) AS customers, sum(balance) AS balances FROM (
            SELECT substr(c_phone, 1, 2) AS code, c_acctbal AS balance FROM customer
            WHERE c_acctbal > (SELECT avg(c_acctbal) FROM customer WHERE c_acctbal > 0)
              AND NOT EXISTS (SELECT 1 FROM orders WHERE o_custkey = c_custkey
                  AND o_totalprice > 5000)) GROUP BY code""",
}
