"""The code location that workspace.yaml names: whatever stands in `defs/`."""

from importlib import import_module
from pathlib import Path

import dagster as dg

from mc_push_dagster.orchestration._compat import without_dagster_warnings


@dg.definitions
def defs() -> dg.Definitions:
    """Build the component tree directly.

    `dg.load_from_defs_folder` would import every Dagster plugin that is installed, in each run and step process as well
    (8 s and 240 MB with dagster-snowflake and dagster-gcp), and needs a project file, which a wheel does not have.
    """
    tree = dg.ComponentTree(
        defs_module=import_module("mc_push_dagster.defs"), project_root=Path(__file__).parent.parent
    )
    loaded = without_dagster_warnings(lambda: tree.build_defs(tree.defs_module_path))
    return dg.Definitions.merge(loaded, dg.Definitions(executor=dg.in_process_executor))
