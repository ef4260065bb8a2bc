"""The pages: plain HTML from the server, no scripts, no request to anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mc_push_dagster.sandbox import lineage_view, views
from mc_push_dagster.sandbox.clock import moment
from mc_push_dagster.sandbox.contract import NOTICE, RULES
from mc_push_dagster.sandbox.reading import Reading
from mc_push_dagster.sandbox.world import World

_TEMPLATES = Path(__file__).with_name("templates")
_HEADERS = {
    # Whatever is pushed is shown: even if an escape were forgotten, nothing could run or leave.
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
_NUMBERS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        **{"count": count, "short": short, "size": size, "span": span},
        **{"time": _time, "day": _day, "table_id": table_id},
    }
    environment.globals |= {"notice": NOTICE}
    return environment


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A number in four characters or so: 1,234 · 12.3k · 4.5M."""
    if value is None:
        return "–"
    for unit, letter in _NUMBERS:
        if abs(value) >= unit:
            return f"{value / (unit if letter != 'k' else 1e3):.3g}{letter}"
    return f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes for reading, in powers of 1,000."""
    if value is None:
        return "–"
    for unit in _SIZES:
        if abs(value) < 1000 or unit == _SIZES[-1]:
            return f"{value:.3g} {unit}" if unit != "B" else f"{value:.0f} B"
        value /= 1000
    return ""


def span(value: timedelta | float | None) -> str:
    """A length of time for reading: 3 min, 2.5 h, 4 d."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if abs(seconds) >= unit:
            number = f"{seconds / unit:.1f}" if seconds / unit < 10 and name != "min" else f"{seconds / unit:.0f}"
            return f"{number.removesuffix('.0')} {name}"
    return f"{seconds:.3g} s" if abs(seconds) >= 1 or seconds == 0 else f"{seconds * 1000:.0f} ms"


def _time(value: datetime | str | None) -> str:
    if value is None:
        return "–"
    at = moment(value) if isinstance(value, str) else value
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _day(value: datetime) -> str:
    return f"{value:%b} {value.day}, {value:%H:%M}"


def table_id(mcon: str) -> str:
    """The readable end of an MCON."""
    return mcon.split("++", 4)[-1]


View = Callable[[Reading, Request], dict[str, Any] | None]


def _page(template: str, view: View) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        world: World = request.app.state.world
        with views.looking(world) as at:
            found = view(at, request)
            status = 200 if found is not None else 404
            name = template if found is not None else "missing.html"

            def ago(value: datetime | str | None) -> str:
                if value is None:
                    return "–"
                passed = at.now - (moment(value) if isinstance(value, str) else value)
                return f"{span(passed)} ago" if passed >= timedelta(seconds=1) else "just now"

            text = (
                _environment()
                .get_template(name)
                .render(**found or {}, now=at.now, ago=ago, path=request.url.path, query=request.query_params)
            )
        return HTMLResponse(text, status_code=status, headers=_HEADERS)

    return endpoint


def _number(request: Request, name: str = "page", *, default: int = 1, most: int = 1_000_000) -> int:
    text = request.query_params.get(name, "")
    return min(max(1, int(text)), most) if text.isascii() and text.isdigit() else default


def _overview(at: Reading, _request: Request) -> dict[str, Any]:
    return views.overview(at)


def _tables(at: Reading, request: Request) -> dict[str, Any]:
    search = request.query_params.get("q", "")
    return {"search": search, "list": views.tables(at, search, _number(request))}


def _table(at: Reading, request: Request) -> dict[str, Any] | None:
    hops = _number(request, "hops", default=2, most=views.MOST_HOPS)
    found = views.table(at, request.query_params.get("mcon", ""), hops)
    return None if found is None else {"table": found}


def _lineage(at: Reading, request: Request) -> dict[str, Any]:
    mcon = request.query_params.get("mcon") or lineage_view.busiest(at)
    hops = _number(request, "hops", default=3, most=views.MOST_HOPS)
    known = mcon is not None and mcon.count("++") >= 4
    return {
        "mcon": mcon,
        "graph": lineage_view.graph(at, mcon, hops) if known and mcon else None,
        "most_hops": views.MOST_HOPS,
    }


def _queries(at: Reading, request: Request) -> dict[str, Any]:
    search = request.query_params.get("q", "")
    return {"search": search, "list": views.queries(at, search, _number(request))}


def _requests(at: Reading, request: Request) -> dict[str, Any]:
    shown = request.query_params.get("show", "pushes")
    return {"shown": shown, "list": views.requests(at, shown, _number(request))}


def _request(at: Reading, request: Request) -> dict[str, Any] | None:
    query = request.query_params
    return views.request(at, seq=query.get("seq"), invocation=query.get("invocation"))


def _rules(_at: Reading, _request: Request) -> dict[str, Any]:
    areas: dict[str, list[Any]] = {}
    for rule in RULES:
        areas.setdefault(rule.area, []).append(rule)
    return {"areas": areas}


routes = [
    Route("/", _page("overview.html", _overview)),
    Route("/tables", _page("tables.html", _tables)),
    Route("/table", _page("table.html", _table)),
    Route("/lineage", _page("lineage.html", _lineage)),
    Route("/queries", _page("queries.html", _queries)),
    Route("/requests", _page("requests.html", _requests)),
    Route("/request", _page("request.html", _request)),
    Route("/rules", _page("rules.html", _rules)),
]
