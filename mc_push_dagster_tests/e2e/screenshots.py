"""Takes the README's two pictures from the running demo: `python -m mc_push_dagster_tests.e2e.screenshots [folder]`."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from mc_push_dagster.sandbox import serve
from mc_push_dagster_tests.e2e.chromium import Page, browser
from mc_push_dagster_tests.e2e.dagster_dev import REPOSITORY, Dev, checkout, dagster_dev

SHOWN = '1+key:"demo/shop/marts/daily_revenue"+1 or group:"monte_carlo"'
TABLE = "daily_revenue"
OPEN = ("shop__marts", "monte_carlo")


def graph(page: Page, dev: Dev, path: Path) -> None:
    """Dagster's lineage view: the push assets, and the tables that a mart is made of."""
    page.visit(f"{dev.url}/asset-groups")
    page.wait_for("Hide navigation", "shop__marts")
    page.click("Hide navigation")
    opened = ",".join(f"global@global:{group}" for group in OPEN)
    page.visit("about:blank")  # else the address changes without the page being built anew
    page.visit(f"{dev.url}/asset-groups~{quote(SHOWN, safe='')}/?expanded={quote(opened, safe='')}")
    page.wait_for("weekly_revenue", "table_catalog")
    # The list of groups beside the graph takes a third of the width and says nothing that the graph does not.
    page.evaluate(
        """(() => { const icon = e => e.querySelector("[aria-label=panel_show_right]");
        [...document.querySelectorAll("button")].find(e => icon(e) && !e.innerText.trim())?.click(); })()"""
    )
    page.settle()
    page.screenshot(path)


def sandbox(page: Page, folder: Path, path: Path) -> None:
    """The sandbox's page of one table: what Monte Carlo would hold of it, and what it is made of."""
    with serve(folder) as box:
        page.visit(f"{box.url}/tables?q={TABLE}")
        page.wait_for("NOT Monte Carlo", TABLE)
        page.click(TABLE)
        page.wait_for("Lineage", "Hops")
        page.settle()
        page.screenshot(path)


def take(images: Path, folder: Path) -> None:
    """Run the demo in `folder` and write `dagster.png` and `sandbox.png` to `images`."""
    home = checkout(folder) / ".mc_push"
    with dagster_dev(folder, home) as dev:
        dev.run("monte_carlo_demo_hourly_push")
        for hours in (1, 2, 3):
            hour = datetime.now(UTC) - timedelta(hours=hours)
            dev.run("monte_carlo_demo_query_log_push", tags={"dagster/partition": f"{hour:%Y-%m-%d-%H:00}"})
        dev.run("monte_carlo_demo_verify_push")
        dev.reload()
        with browser(width=1600, height=1000) as page:
            graph(page, dev, images / "dagster.png")
    with browser(width=1400, height=1000) as page:
        sandbox(page, home / "sandbox", images / "sandbox.png")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        take(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "images", Path(temporary))
