"""The demo's definitions as a whole, held against a snapshot; and every private name of Dagster's that we lean on.

To accept a change on purpose: `MC_PUSH_UPDATE_GOLDEN=1 pytest mc_push_dagster_tests/orchestration/test_definitions.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

from mc_push_dagster.definitions import defs
from mc_push_dagster.orchestration import _compat

GOLDEN = Path(__file__).parents[1] / "golden" / "orchestration" / "definitions.json"


def snapshot(loaded: dg.Definitions) -> dict[str, Any]:
    """What a user sees of the definitions, without what changes by the day."""
    repository = loaded.get_repository_def()
    graph = repository.asset_graph
    return {
        "assets": {
            key.to_user_string(): {
                "group": (node := graph.get(key)).group_name,
                "kinds": sorted(node.kinds),
                "owners": list(node.owners),
                "tags": {k: v for k, v in sorted(node.tags.items()) if not k.startswith("dagster/kind")},
                "description": node.description,
                "pools": sorted(node.pools or ()),
                "partitioned": node.partitions_def is not None,
                "freshness": str(node.freshness_policy) if node.freshness_policy else None,
                "checks": sorted(k.name for k in graph.asset_check_keys if k.asset_key == key),
            }
            for key in sorted(graph.get_all_asset_keys())
        },
        "jobs": sorted(job.name for job in repository.get_all_jobs()),
        "schedules": {s.name: [s.cron_schedule, s.default_status.value] for s in repository.schedule_defs},
        "sensors": {
            s.name: [s.minimum_interval_seconds, s.default_status.value, s.description] for s in repository.sensor_defs
        },
        "resources": sorted(repository.get_top_level_resources()),
    }


def test_the_demo_s_definitions_are_as_they_were() -> None:
    found = json.dumps(snapshot(defs()), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("MC_PUSH_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()


def test_every_private_name_of_dagster_s_is_still_there() -> None:
    assert _compat.sensor_deadline_seconds() > 0
    assert _compat.state_storage_at_hand() is False
    assert _compat.without_dagster_warnings(lambda: 1) == 1


def test_run_processes_are_told_from_the_code_server() -> None:
    dagster = ["/bin/dagster"]
    assert _compat.in_run_process([*dagster, "api", "execute_run"], {}, child=False)
    assert _compat.in_run_process([*dagster, "api", "execute_step"], {}, child=False)
    assert _compat.in_run_process([*dagster], {"DAGSTER_RUN_JOB_NAME": "x"}, child=False)
    assert _compat.in_run_process([*dagster], {}, child=True)
    assert not _compat.in_run_process([*dagster, "api", "grpc"], {}, child=False)


def test_definitions_load_where_the_project_s_files_are_absent(tmp_path: Path, monkeypatch) -> None:
    """As from a wheel: no pyproject.toml anywhere above the working folder."""
    monkeypatch.chdir(tmp_path)
    assert len(defs().resolve_asset_graph().get_all_asset_keys()) == 3
