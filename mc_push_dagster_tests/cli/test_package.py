"""What `pip install` leaves: a command, types, a component registry entry, and every file that is read at run time."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mc_push_dagster"


def test_the_command_and_the_component_registry_are_announced() -> None:
    [command] = entry_points(group="console_scripts", name="mc-push")
    assert command.value == "mc_push_dagster.cli:main"
    assert callable(command.load())
    [registry] = entry_points(group="dagster_dg_cli.registry_modules", name="mc_push_dagster")
    assert registry.value == "mc_push_dagster"
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.slow
def test_a_wheel_holds_all_that_is_read_at_run_time_and_works_by_itself(tmp_path: Path) -> None:
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    names = [n for n in tracked.stdout.splitlines() if (ROOT / n).is_file()]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        pytest.skip(f"no wheel can be built here: {built.stderr.strip().splitlines()[-1]}")
    [wheel] = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as content:
        held = set(content.namelist())
        content.extractall(installed)
    assert {n for n in names if n.startswith("mc_push_dagster/")} <= held
    assert not [n for n in held if n.startswith("mc_push_dagster_tests/") or "__pycache__" in n]
    (tmp_path / "work").mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import mc_push_dagster; "
        f"assert mc_push_dagster.__file__.startswith({str(installed)!r}); "
        "from mc_push_dagster.cli import main; main()"
    )
    for command in (["--version"], ["push", "--dry-run"], ["push"], ["verify"], ["doctor"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *command],
            cwd=tmp_path / "work",
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
