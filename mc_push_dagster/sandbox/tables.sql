-- What the sandbox knows. Times are text in UTC with microseconds: text order is time order.
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS warehouse (
  uuid TEXT PRIMARY KEY, name TEXT NOT NULL, connection_type TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS connection (
  uuid TEXT PRIMARY KEY, warehouse TEXT NOT NULL, capability TEXT NOT NULL, mode TEXT NOT NULL, type TEXT,
  name TEXT, reuse TEXT, created_at TEXT NOT NULL, UNIQUE (warehouse, capability));
CREATE TABLE IF NOT EXISTS credentials (key TEXT PRIMARY KEY, type TEXT NOT NULL, note TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS integration_key (
  id TEXT PRIMARY KEY, secret TEXT NOT NULL, scope TEXT NOT NULL, description TEXT NOT NULL, warehouses TEXT,
  created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS request (
  seq INTEGER PRIMARY KEY, at TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, status INTEGER, outcome TEXT NOT NULL,
  invocation TEXT, reason TEXT, size INTEGER NOT NULL, key_id TEXT, trace_id TEXT, label TEXT, milliseconds REAL,
  -- Last, because what stands behind a long value is slow to read.
  body BLOB);
CREATE INDEX IF NOT EXISTS request_by_invocation ON request (invocation);
CREATE INDEX IF NOT EXISTS request_by_path ON request (path, status, size);
CREATE TABLE IF NOT EXISTS invocation (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, path TEXT NOT NULL, event_type TEXT NOT NULL, at TEXT NOT NULL,
  visible_at TEXT NOT NULL, events INTEGER NOT NULL, payload BLOB, applied INTEGER NOT NULL DEFAULT 0, notes TEXT);
CREATE INDEX IF NOT EXISTS invocation_pending ON invocation (visible_at) WHERE applied = 0;
CREATE TABLE IF NOT EXISTS receipt (
  warehouse TEXT NOT NULL, event_type TEXT NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL,
  last_invocation TEXT NOT NULL, PRIMARY KEY (warehouse, event_type)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asset (
  mcon TEXT PRIMARY KEY, warehouse TEXT NOT NULL, full_table_id TEXT NOT NULL, database TEXT NOT NULL, schema TEXT NOT NULL,
  name TEXT NOT NULL, type TEXT NOT NULL, description TEXT, view_query TEXT, created_on TEXT, tags TEXT, fields TEXT,
  invocation TEXT NOT NULL, first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, deleted_at TEXT);
CREATE INDEX IF NOT EXISTS asset_by_name ON asset (warehouse, full_table_id COLLATE NOCASE);
CREATE INDEX IF NOT EXISTS asset_by_warehouse ON asset (warehouse, mcon);
CREATE INDEX IF NOT EXISTS asset_by_invocation ON asset (invocation, mcon);
CREATE TABLE IF NOT EXISTS schema_version (
  seq INTEGER PRIMARY KEY, mcon TEXT NOT NULL, at TEXT NOT NULL, fields TEXT NOT NULL, invocation TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS schema_version_by_mcon ON schema_version (mcon, seq);
CREATE TABLE IF NOT EXISTS sample (
  seq INTEGER PRIMARY KEY, mcon TEXT NOT NULL, at TEXT NOT NULL, row_count INTEGER, byte_count INTEGER, last_update TEXT,
  invocation TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sample_by_mcon ON sample (mcon, at);
CREATE TABLE IF NOT EXISTS node (
  mcon TEXT PRIMARY KEY, object_type TEXT NOT NULL, object_id TEXT NOT NULL, name TEXT NOT NULL, custom INTEGER NOT NULL,
  properties TEXT, expires_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS edge (
  source TEXT NOT NULL, destination TEXT NOT NULL, custom INTEGER NOT NULL, edge_type TEXT NOT NULL, expires_at TEXT NOT NULL,
  last_seen TEXT NOT NULL, invocation TEXT, PRIMARY KEY (source, destination)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS edge_by_destination ON edge (destination);
CREATE TABLE IF NOT EXISTS column_edge (
  source TEXT NOT NULL, source_column TEXT NOT NULL, destination TEXT NOT NULL, destination_column TEXT NOT NULL,
  expires_at TEXT NOT NULL, last_seen TEXT NOT NULL, invocation TEXT NOT NULL,
  PRIMARY KEY (source, source_column, destination, destination_column)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS column_edge_by_destination ON column_edge (destination);
CREATE TABLE IF NOT EXISTS query_text (hash TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS query (
  seq INTEGER PRIMARY KEY, warehouse TEXT NOT NULL, log_type TEXT NOT NULL, invocation TEXT NOT NULL, hash TEXT NOT NULL,
  started_at TEXT NOT NULL, ended_at TEXT NOT NULL, query_id TEXT, user TEXT, returned_rows INTEGER, error_code TEXT,
  error_text TEXT, extra TEXT);
CREATE INDEX IF NOT EXISTS query_by_time ON query (warehouse, started_at);
CREATE INDEX IF NOT EXISTS query_by_hash ON query (hash);
