"""What the sandbox enforces, and who says so: nobody shall take our strictness for the vendor's.

Sources: "push-ingest-api" is Monte Carlo's document of that name (docs.getmontecarlo.com), "skill" its push-ingestion
skill (github.com/monte-carlo-data/mc-agent-toolkit), "schema" the GraphQL schema in its Python SDK (pycarlo).
"Inferred" marks what no source says: our own reading, chosen to be strict.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

NOTICE = "Local sandbox of mc_push_dagster. This is NOT Monte Carlo."
HEADERS = {"x-sandbox": "1", "x-sandbox-notice": NOTICE}

BODY_LIMIT = 1_000_000
"""Bytes (push-ingest-api, "Error codes", 413: "compressed body exceeds 1 MB"; measured raw unless told otherwise)."""

COLUMN_LINEAGE_TTL = timedelta(days=10)
"""push-ingest-api, "Column lineage expires after 10 days"."""

CUSTOM_LINEAGE_TTL = timedelta(days=7)
"""push-ingest-api, "TTL summary": custom nodes and edges, unless `expireAt` is given."""

NEVER = "9999-12-31T00:00:00.000000+00:00"
"""push-ingest-api: pushed table lineage has `expireAt: "9999-12-31"`."""

STALE_AFTER = timedelta(hours=24)
"""Inferred: the schema has STALE for push events, no source says when it begins."""

DELETE_LIMIT = 1000
"""push-ingest-api, "Push table deletion": "Maximum 1,000 MCONs per call"."""

LINEAGE_MCONS_LIMIT = 12
"""schema, `getTableLineage(mcons)`: at most 12."""

QUERIES_LIMIT = 1000
"""schema, `getAggregatedQueries(limit)`: at most 1000."""

INGEST_SCOPE = "Ingestion"
API_SCOPE = "API"
"""Not an `IntegrationKeyScope`: our name for an account's GraphQL key (push-ingest-api, "Create a GraphQL API key")."""

SECRET_BYTES = 42
"""montecarlodata's ConfigManager: tokens are `secrets.token_urlsafe(42)`, 56 characters, and it refuses others."""

LOG_TYPES = {
    "snowflake": "snowflake",
    "redshift": "redshift",
    "bigquery": "bigquery",
    "athena": "athena",
    "teradata": "teradata",
    "clickhouse": "clickhouse",
    "databricks": "databricks",
    "databricks-metastore-sql-warehouse": "databricks",
    "s3": "spark",
    "presto-s3": "presto",
    "hive-s3": "hive",
    "generic": "",
}
"""log_type -> sqlglot dialect.

push-ingest-api, "Query logs Schema"; `databricks` by the skill, `generic` by newer documents.
"""

ASSET_TYPES = frozenset({"TABLE", "VIEW"})
"""skill, "RelationalAsset structure": only these two; anything else is answered with 400."""

DOCUMENTED_ASSET_TYPES = ASSET_TYPES | {"EXTERNAL", "WILDCARD", "WILDCARD_TABLE"}
"""push-ingest-api lists EXTERNAL and WILDCARD, the SDK's docstrings WILDCARD_TABLE; accepted in lenient mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing the sandbox enforces or models, as its rules page shows it."""

    area: str
    says: str
    source: str
    inferred: bool = False


RULES = (
    Rule(
        area="Order",
        says="Faults, then size (413), key (401), JSON and schema (400), the key's warehouses (403), then 202.",
        source="no source gives the order",
        inferred=True,
    ),
    Rule(
        area="Keys",
        says="Pushes need a key of scope Ingestion; GraphQL needs an API key. Anything else is 401.",
        source="push-ingest-api, Prerequisites 1 and 2, Error codes",
    ),
    Rule(
        area="Keys",
        says="A key made for some warehouses answers 403 for others; so does an unknown warehouse.",
        source="push-ingest-api, Troubleshooting: Push returns 403 (unknown warehouse: inferred)",
    ),
    Rule(
        area="Size",
        says="A body above 1,000,000 bytes is 413; measured as sent, or as its gzip when so configured.",
        source="push-ingest-api, Error codes: compressed body exceeds 1 MB",
    ),
    Rule(
        area="Schema",
        says="Required fields are present, types are right, fields nobody documents are refused, at least one event.",
        source="push-ingest-api, the Table Schema blocks (refusing unknown fields: inferred)",
    ),
    Rule(
        area="Schema",
        says="An asset's type is TABLE or VIEW.",
        source="push-ingestion skill, RelationalAsset structure (lenient mode takes the longer documented list)",
    ),
    Rule(
        area="Schema",
        says="Times are ISO 8601 with a zone; a query does not end before it starts.",
        source="push-ingest-api: ISO 8601 (zone and order: inferred)",
        inferred=True,
    ),
    Rule(
        area="Schema",
        says="A column's source asset_id matches a source of its event.",
        source="push-ingest-api, Column lineage Schema",
    ),
    Rule(
        area="Schema",
        says="Lineage names its resource once at the top, or on every asset (cross-warehouse).",
        source="pycarlo, LineageAssetRef and build_lineage_payload",
    ),
    Rule(
        area="Schema",
        says="Query logs carry log_type, from the documented list, and never resource_type.",
        source="push-ingest-api, log_type, not resource_type; Troubleshooting: Unsupported ingest query-log log_type",
    ),
    Rule(
        area="Time",
        says="What is accepted becomes visible after the configured delay.",
        source="push-ingest-api, typical latency: metadata and lineage minutes, query logs up to an hour",
    ),
    Rule(
        area="Lineage",
        says="Table lineage never expires; column lineage does after 10 days, custom nodes and edges after 7.",
        source="push-ingest-api, TTL summary",
    ),
    Rule(
        area="Lineage",
        says="Column lineage is kept only between tables that are in the catalog already.",
        source="mcd-public-resources, push_field_lineage.py",
    ),
    Rule(
        area="Lineage",
        says="A column-lineage event draws the edge between its tables as well.",
        source="the SDK marks a mixed batch COLUMN_LINEAGE",
        inferred=True,
    ),
    Rule(
        area="Catalog",
        says="A push without fields keeps the schema that is stored.",
        source="mcd-public-resources, --only-freshness-and-volume",
        inferred=True,
    ),
    Rule(
        area="Catalog",
        says="Deleting takes at most 1,000 MCONs, all or none, with their lineage nodes and table edges.",
        source="push-ingest-api, Push table deletion (all or none: push-ingestion skill)",
    ),
    Rule(
        area="Lineage",
        says="An edge made by hand needs both of its nodes.",
        source="no source says what happens otherwise",
        inferred=True,
    ),
    Rule(
        area="Lineage",
        says="A table pushed as TABLE in one place and as VIEW in another is two nodes.",
        source="the kind is part of an MCON (pycarlo's MCON parser)",
        inferred=True,
    ),
    Rule(
        area="Catalog",
        says="A table's ingestInvocationId is that of the last push that named it.",
        source="schema, WarehouseTable.ingestInvocationId (last: inferred)",
        inferred=True,
    ),
    Rule(
        area="Catalog",
        says="A warehouse's push events turn STALE after 24 hours of silence.",
        source="schema, WebhookStatusValue (24 hours: inferred)",
        inferred=True,
    ),
    Rule(
        area="Queries",
        says="A query belongs to the tables that sqlglot finds in its text; one pushed twice counts twice.",
        source="no source says how queries are attributed or told apart",
        inferred=True,
    ),
    Rule(
        area="Integrations",
        says="COLLECT needs a connection type, credentials and a deployment; REUSE a capability that collects;"
        " monitors are never pushed.",
        source="schema, CapabilityConfigInput; the IOMETE guide",
    ),
    Rule(
        area="Integrations",
        says="Testing Spark credentials only sees whether the port answers; nobody logs in and no password is kept.",
        source="the sandbox's own limit",
    ),
    Rule(
        area="Detectors",
        says="Freshness: 7 changed times in 35 days (fewer for slow tables), coverage 0.15, updates 5 minutes to"
        " 7.7 days apart; off after 14 days without a push, or 7 for fast tables.",
        source="push-ingest-api, Freshness detector; push-ingestion skill, references/anomaly-detection.md",
    ),
    Rule(
        area="Detectors",
        says="Volume: 10 daily, 48 sub-daily or 5 weekly samples in 42 days, coverage 0.30, regular, 5 days old.",
        source="push-ingest-api, Volume detector; push-ingestion skill, references/anomaly-detection.md",
    ),
    Rule(
        area="Detectors",
        says="No anomaly is ever found: only the states are modelled, limits stay empty.",
        source="the sandbox's own limit",
    ),
    Rule(
        area="Detectors",
        says="Samples count once an hour (UTC).",
        source="push-ingest-api, Push frequency: hourly buckets",
    ),
)
