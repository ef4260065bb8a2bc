"""Every GraphQL document that we send, as raw text.

Each validates against the schema of pycarlo's lowest supported and newest version (`test_documents.py`). The verifying
ones that the product documents print do not: `getTable.displayName`, `getMetricsV4(mcon:)`, `getTableLineage.objectId`,
the edges of `getAggregatedQueries` and the lower and upper thresholds do not exist.
"""

from __future__ import annotations

WAREHOUSES = """
query Warehouses {
  getUser {
    account {
      warehouses {
        uuid name connectionType
        pushEvents { eventType status firstReceived lastReceived lastInvocationId }
      }
    }
  }
}
"""

TABLES = """
query Tables($dwId: UUID, $fullTableId: String, $invocation: String, $deleted: Boolean, $first: Int, $after: String) {
  getTables(dwId: $dwId, fullTableId: $fullTableId, ingestInvocationId: $invocation, isDeleted: $deleted, first: $first,
            after: $after) {
    edges { node { mcon fullTableId tableType ingestType ingestInvocationId lastObserved isDeleted } }
    pageInfo { hasNextPage endCursor }
  }
}
"""

TABLE = """
query Table($mcon: String!, $after: String) {
  getTable(mcon: $mcon) {
    mcon fullTableId tableType ingestType ingestInvocationId lastObserved isDeleted description viewQuery
    versions(first: 1, orderBy: "-timestamp") {
      edges {
        node {
          fields(first: 500, after: $after) {
            edges { node { name fieldType description } }
            pageInfo { hasNextPage endCursor }
          }
        }
      }
    }
  }
}
"""

DETECTORS = """
query Detectors($mcon: String!) {
  getTable(mcon: $mcon) {
    thresholds { freshness { status reason } size { ucsStatus ucsReason sdStatus sdReason } }
  }
}
"""

METRICS = """
query Metrics($mcon: String!, $metric: String!, $start: DateTime!, $end: DateTime) {
  getMetricsV4(metricName: $metric, startTime: $start, endTime: $end, metricsFilter: {mcon: $mcon}, first: 5000) {
    metrics { metric value measurementTimestamp }
  }
}
"""

LINEAGE = """
query Lineage($mcons: [String], $direction: String!) {
  getTableLineage(mcons: $mcons, direction: $direction, hops: 1) {
    connectedNodes { mcon displayName objectType isCustom expireAt }
    flattenedEdges { mcon directlyConnectedMcons }
  }
}
"""

COLUMN_LINEAGE = """
query ColumnLineage($mcon: String!, $column: String!, $cursor: String) {
  getDerivedTablesPartialLineage(mcon: $mcon, column: $column, pageSize: 1000, cursor: $cursor) {
    destinations { mcon displayName columns { columnName } }
    isLastPage cursor
  }
}
"""

QUERIES = """
query Queries($mcon: String!, $kind: QueryType!, $start: DateTime!, $end: DateTime!, $after: String) {
  getAggregatedQueries(mcon: $mcon, queryType: $kind, startTime: $start, endTime: $end, limit: 1000,
                       endCursor: $after) {
    aggregatedQueries { date queryHash user category count latestQueryTimestamp }
    pageInfo { hasNextPage endCursor }
  }
}
"""

INTEGRATION_KEYS = """
query IntegrationKeys($scope: String, $resource: UUID) {
  getIntegrationKeys(scope: $scope, resourceUuid: $resource) {
    id description scope createdTime warehouses { uuid name }
  }
}
"""

CREATE_INTEGRATION_KEY = """
mutation CreateIntegrationKey($description: String!, $scope: IntegrationKeyScope!, $resources: [UUID]) {
  createIntegrationKey(description: $description, scope: $scope, warehouseIds: $resources) { key { id secret } }
}
"""

DELETE_INTEGRATION_KEY = """
mutation DeleteIntegrationKey($id: String!) {
  deleteIntegrationKey(keyId: $id) { deleted }
}
"""

CUSTOM_INTEGRATION = """
mutation CustomIntegration($name: String, $resource: UUID, $metadata: CapabilityConfigInput,
                           $queryLogs: CapabilityConfigInput, $lineage: CapabilityConfigInput,
                           $monitors: CapabilityConfigInput) {
  createOrUpdateCustomIntegration(name: $name, warehouseUuid: $resource, metadata: $metadata, queryLogs: $queryLogs,
                                  lineage: $lineage, monitors: $monitors) {
    result { warehouseUuid connections { capability connection { uuid type jobTypes name } } }
  }
}
"""

TEST_SPARK_CREDENTIALS = """
mutation TestSparkCredentials($http: SparkHttpInput, $binary: SparkBinaryInput, $options: ConnectionTestOptions) {
  testSparkCredentials(httpMode: $http, binaryMode: $binary, connectionOptions: $options) { key success }
}
"""

DELETE_TABLES = """
mutation DeletePushedTables($mcons: [String!]!) {
  deletePushIngestedTables(mcons: $mcons) { success deletedCount }
}
"""

LINEAGE_NODE = """
mutation LineageNode($type: String!, $id: String!, $resource: UUID, $name: String,
                     $properties: [ObjectPropertyInput], $expireAt: DateTime) {
  createOrUpdateLineageNode(objectType: $type, objectId: $id, resourceId: $resource, name: $name,
                            properties: $properties, expireAt: $expireAt) {
    node { mcon displayName objectType isCustom expireAt }
  }
}
"""

LINEAGE_EDGE = """
mutation LineageEdge($source: NodeInput!, $destination: NodeInput!, $expireAt: DateTime) {
  createOrUpdateLineageEdge(source: $source, destination: $destination, edgeType: IS_DOWNSTREAM, expireAt: $expireAt) {
    edge { expireAt isCustom source { mcon } destination { mcon } }
  }
}
"""

DELETE_LINEAGE_NODE = """
mutation DeleteLineageNode($mcon: String!) {
  deleteLineageNode(mcon: $mcon) { objectsDeleted nodesDeleted edgesDeleted }
}
"""

ALL = {name: text for name, text in dict(globals()).items() if name.isupper()}
"""Every document by its name here."""
