"""What the README says is run: its commands, its Python, its configuration, its tables and its links."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mc_push_dagster.config import PushConfig, read
from mc_push_dagster.warehouses import REGISTRY
from mc_push_dagster_tests.readme_tables import rendered

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Every fenced block of a language, with a name for the test's id."""
    found = []
    for page in PAGES:
        if page.exists():
            bodies = [body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]
            found += [(f"{page.stem}-{n}", body) for n, body in enumerate(bodies, 1)]
    return found


def commands() -> list[tuple[str, str, str]]:
    """Every `$ command` of a console block, with the output shown below it."""
    found = []
    for name, body in blocks("console"):
        parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
        for n, part in enumerate(parts, 1):
            command, _, output = part.partition("\n")
            found.append((f"{name}-{n}", command, output))
    return found


def shape(text: str) -> list[str]:
    """The words of an output without what differs from run to run: numbers, ids, times, bars and spacing."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", text)
    text = re.sub(r"\d[\d,.:TZ-]*", "<n>", text)
    text = re.sub(r"[─━│┃┏┓┗┛┡┩└┘┬┴┼╇╈╋┳┻┢┪╭╮╰╯├┤]", " ", text)
    return re.findall(r"[A-Za-z_]{3,}", text)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a newcomer's checkout has before the first command; the commands of all pages run here one after another."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name in ("Makefile", "workspace.yaml", "dagster.yaml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("command", "output"), [pytest.param(c, o, id=i) for i, c, o in commands()])
def test_a_documented_command_works_and_prints_what_the_page_shows(command: str, output: str, workshop: Path) -> None:
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
        assert set(words[1:]) <= targets
        if words != ["make", "demo"]:
            return
        words = ["mc-push", "demo"]
    if words[0] != "mc-push" or "<" in command:
        pytest.skip("shown for reading: needs another machine or an account")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MCD_", "MC_", "DAGSTER"))}
    done = subprocess.run(
        [".venv/bin/mc-push", *words[1:]],
        cwd=workshop,
        env=environment | {"COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    missing = [word for word in shape(output) if word not in shape(done.stdout)]
    assert not missing, f"the page shows words that the command does not print: {missing}\n{done.stdout}"


@pytest.mark.parametrize("body", [pytest.param(b, id=i) for i, b in blocks("python") if i.startswith("README")])
def test_documented_python_runs(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(body, "documented", "exec"), {"__name__": "documented"})


@pytest.mark.parametrize("body", [pytest.param(b, id=i) for i, b in blocks("yaml")])
def test_documented_configuration_is_valid(body: str, tmp_path: Path) -> None:
    import yaml

    class Anything(dict[str, str]):
        def get(self, key: str, default: str | None = None) -> str:  # type: ignore[override]
            return default if default is not None else f"value-of-{key}"

    document = yaml.safe_load(body)
    if not isinstance(document, dict) or ("warehouse" not in document and "attributes" not in document):
        pytest.skip("not a push configuration")
    (tmp_path / "documented.yaml").write_text(body, encoding="utf-8")
    config = read(tmp_path / "documented.yaml", environment=Anything())
    assert isinstance(config, PushConfig)
    if "connection_resource" not in body:
        config.open_warehouse()


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES])
def test_links_to_files_of_the_repository_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}, which is not there"


def test_every_registered_warehouse_has_its_row_in_the_readme() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(REGISTRY) <= rows


def test_generated_parts_are_as_the_code_and_the_pages_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert rendered(text) == text, "run: python mc_push_dagster_tests/readme_tables.py"
