"""The pages: they show what arrived, escape what is hostile, and ask nobody else for anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import requests

from mc_push_dagster.sandbox import Sandbox

Build = dict[str, Any]
EVIL = "\"><script>alert('x')</script><img src=x onerror=alert(1)> 'q' {{7*7}} 🙈"


class Reader(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(box: Sandbox, path: str) -> Reader:
    answer = requests.get(f"{box.url}{path}", timeout=10)
    assert answer.status_code == 200, answer.text[:500]
    page = Reader()
    page.feed(answer.text)
    return page


@pytest.fixture
def full(wire: Any, builders: Build) -> Any:
    """A sandbox into which something of everything was pushed, all of it with hostile names."""
    ref, asset = builders["ref"], builders["asset"]
    for rows in (10, 20, 15):
        fields = [{"name": EVIL, "type": EVIL, "description": EVIL}, {"name": f"c{rows}", "type": "INT"}]
        freshness = {"last_update_time": wire.box.now().isoformat()}
        evil = asset(EVIL, fields=fields, volume={"row_count": rows, "byte_count": 9}, freshness=freshness)
        evil["metadata"] |= {"description": EVIL, "view_query": EVIL}
        evil["tags"] = [{"key": EVIL, "value": EVIL}, {"key": "lone"}]
        wire.metadata(evil, asset("plain"), asset("view", "VIEW"))
        wire.box.advance(timedelta(hours=2))
    column = {"fields": [{"name": EVIL, "source_fields": [{"asset_id": "s", "field_name": EVIL}]}]}
    wire.lineage(
        {"destination": ref(EVIL, asset_id="d"), "sources": [ref("plain", asset_id="s")]} | column, column=True
    )
    wire.lineage({"destination": ref(f"t{EVIL}"), "sources": [ref(EVIL), ref(f"unknown {EVIL}")]})
    wire.query_logs(builders["query"](EVIL, user=EVIL, query_id=EVIL, error_code=EVIL, error_text=EVIL))
    refused = asset(EVIL, EVIL)
    refused[EVIL] = 1
    wire.metadata(refused)
    wire.box.add_fault(kind="hang", path=EVIL)
    wire.graphql(f"{{ {EVIL} }}")
    return wire


def paths(wire: Any) -> list[str]:
    mcon = quote(wire.mcon(EVIL), safe="")
    seqs = [r.seq for r in wire.box.requests()]
    return [
        *("/", "/tables", f"/tables?q={quote(EVIL)}", "/lineage", f"/lineage?mcon={mcon}&hops=1", "/rules"),
        *(f"/table?mcon={mcon}", f"/table?mcon={quote(wire.mcon('plain'), safe='')}&hops=5"),
        *("/queries", f"/queries?q={quote(EVIL)}", "/requests", "/requests?show=refused", "/requests?show=graphql"),
        *("/requests?show=all&page=2", *(f"/request?seq={s}" for s in seqs)),
    ]


def test_nothing_hostile_gets_out_of_its_quotes_on_any_page(full: Any) -> None:
    seen = ""
    for path in paths(full):
        page = read(full.box, path)
        assert "script" not in page.elements
        assert "img" not in page.elements
        assert not [a for a in page.attributes if a[0].startswith("on")]
        assert "49" not in re.findall(r"'q' (\S+)", page.text)
        seen += page.text
    assert EVIL in seen


def test_no_page_asks_another_machine_for_anything(full: Any) -> None:
    for path in paths(full):
        answer = requests.get(f"{full.box.url}{path}", timeout=10)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        page = read(full.box, path)
        used = [v for n, v in page.attributes if n in ("src", "href", "action")]
        assert not [v for v in used if not v.startswith(("/", "#", "data:,"))]
        assert not [v for v in used if v.startswith("//")]


def test_every_page_says_that_it_is_not_monte_carlo(full: Any) -> None:
    for path in [*paths(full), "/table?mcon=none"]:
        assert "NOT Monte Carlo" in requests.get(f"{full.box.url}{path}", timeout=10).text


def test_drawings_are_well_formed(full: Any) -> None:
    for path in paths(full):
        text = requests.get(f"{full.box.url}{path}", timeout=10).text
        for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            ElementTree.fromstring(drawing)


def test_a_table_shows_its_measures_schema_and_lineage(full: Any) -> None:
    text = read(full.box, f"/table?mcon={quote(full.mcon(EVIL), safe='')}").text
    for shown in ("+ c20", "− c10", "Rows", "15", 't"><script>', "plain", "Column lineage", "View definition"):
        assert shown in text


def test_an_overview_counts_what_arrived(full: Any) -> None:
    text = " ".join(read(full.box, "/").text.split())
    for shown in (
        "3 tables and views",
        "3 table lineage edges",
        "1 column lineage edges",
        "1 queries",
        "6 pushes accepted",
    ):
        assert shown in text
    assert "1 refused or unanswered" in text


def test_a_request_is_found_by_its_invocation_id_and_shows_why_it_was_refused(full: Any) -> None:
    taken = full.box.requests("metadata")[0]
    assert taken.invocation_id in read(full.box, f"/request?invocation={taken.invocation_id}").text
    refused = next(r for r in full.box.requests() if r.status == 400)
    assert "must be one of TABLE, VIEW" in read(full.box, f"/request?seq={refused.seq}").text


def test_an_integration_shows_how_each_capability_is_fed(wire: Any) -> None:
    made = """mutation { createOrUpdateCustomIntegration(name: "IOMETE", metadata: {mode: PUSH}) {
        result { warehouseUuid } } }"""
    wire.ask(made)
    text = read(wire.box, "/").text
    assert "IOMETE" in text
    assert "metadata: push" in text


@pytest.mark.parametrize(
    "path", ["/table", "/table?mcon=x", "/request?seq=999", "/request?seq=x", "/request", "/request?invocation=x"]
)
def test_what_is_not_there_is_a_404_page(shared: Any, path: str) -> None:
    assert requests.get(f"{shared.box.url}{path}", timeout=10).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tables?page=0",
        "/tables?page=x",
        "/lineage",
        "/lineage?mcon=x&hops=99",
        "/queries?page=7",
        "/requests?show=x",
    ],
)
def test_an_empty_sandbox_has_pages_too(box: Sandbox, path: str) -> None:
    read(box, path)


def test_a_wide_graph_stays_small(wire: Any, builders: Build) -> None:
    ref = builders["ref"]
    wire.metadata(builders["asset"]("hub"))
    wire.lineage({"destination": ref("hub"), "sources": [ref(f"s{n:03}") for n in range(200)]})
    wire.lineage(*[{"destination": ref(f"d{n:03}"), "sources": [ref("hub")]} for n in range(200)])
    page = read(wire.box, f"/lineage?mcon={quote(wire.mcon('hub'), safe='')}")
    assert page.text.count("and 186 more") == 2


@pytest.mark.browser
def test_chromium_draws_the_pages_and_runs_nothing(full: Any, tmp_path: Path) -> None:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium is installed")
    for number, path in enumerate(paths(full)[:9]):
        picture = tmp_path / f"{number}.png"
        command = [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
            *("--hide-scrollbars", "--window-size=1280,1400", f"--screenshot={picture}", f"{full.box.url}{path}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert picture.stat().st_size > 10_000, done.stderr[-500:]
        assert "Content Security Policy" not in done.stderr
        assert "CONSOLE" not in done.stderr
