"""Numbers for drawings: a line over time and a graph in layers; the templates turn them into SVG."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

NODE_WIDTH, NODE_HEIGHT = 208, 46
_LAYER_GAP, _ROW_GAP, _MARGIN = 60, 16, 14
MOST_IN_LAYER = 14
_SWEEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A line of values over time in a box of `width` by `height`."""

    width: int
    height: int
    line: str
    """SVG path of the line."""
    area: str
    """SVG path of what is below it."""
    dots: tuple[tuple[float, float, datetime, float], ...]
    """x, y, time and value of each point."""
    low: float
    high: float
    start: datetime
    end: datetime

    @property
    def last(self) -> float:
        return self.dots[-1][3]


def chart(
    points: Sequence[tuple[datetime, float]], *, width: int, height: int, zero: bool = False, margin: int = 4
) -> Chart | None:
    """Scale `points` (in time order) into a box; `zero` makes the scale begin at 0. None if there are none."""
    if not points:
        return None
    times = [t.timestamp() for t, _ in points]
    values = [v for _, v in points]
    low, high = (min(0.0, *values) if zero else min(values)), max(values)
    span, range_ = times[-1] - times[0], high - low

    def place(index: int) -> tuple[float, float]:
        x = margin + (width - 2 * margin) * ((times[index] - times[0]) / span if span else 0.5)
        y = height - margin - (height - 2 * margin) * ((values[index] - low) / range_ if range_ else 0.5)
        return round(x, 1), round(y, 1)

    places = [place(i) for i in range(len(points))]
    line = "M" + " L".join(f"{x} {y}" for x, y in places)
    floor = height - margin
    area = f"{line} L{places[-1][0]} {floor} L{places[0][0]} {floor} Z"
    dots = tuple((x, y, t, v) for (x, y), (t, v) in zip(places, points, strict=True))
    return Chart(
        width=width,
        height=height,
        line=line,
        area=area,
        dots=dots,
        low=low,
        high=high,
        start=points[0][0],
        end=points[-1][0],
    )


def thin(points: Sequence[tuple[datetime, float]], most: int) -> list[tuple[datetime, float]]:
    """At most `most` of `points`, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(i * step)] for i in range(most)]


def by_hour(moments: Sequence[tuple[datetime, float]], *, end: datetime, hours: int) -> list[tuple[datetime, float]]:
    """Sums of values by UTC hour for the last `hours` hours, the empty ones too."""
    first = end.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours - 1)
    sums = [0.0] * hours
    for at, value in moments:
        index = int((at - first) // timedelta(hours=1))
        if 0 <= index < hours:
            sums[index] += value
    return [(first + timedelta(hours=i), v) for i, v in enumerate(sums)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedNode:
    """A node of the drawn graph; `mcon` is None for "n more"."""

    mcon: str | None
    x: int
    y: int
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph in layers from left (upstream) to right (downstream)."""

    width: int
    height: int
    nodes: tuple[PlacedNode, ...]
    edges: tuple[tuple[str, str, str], ...]
    """Source, destination and SVG path."""


def layers(
    base: str, up: Sequence[Mapping[str, Sequence[str]]], down: Sequence[Mapping[str, Sequence[str]]]
) -> dict[str, int]:
    """The layer of each node around `base` (0): negative upstream, positive downstream; nearest wins."""
    found = {base: 0}
    for sign, steps in ((-1, up), (1, down)):
        for distance, step in enumerate(steps, 1):
            for nodes in step.values():
                for node in nodes:
                    found.setdefault(node, sign * distance)
    return found


def arrange(layer_of: Mapping[str, int], edges: Collection[tuple[str, str]], names: Mapping[str, str]) -> Graph:
    """Place nodes by layer, neighbours near each other; a layer shows at most `MOST_IN_LAYER` nodes."""
    by_layer: dict[int, list[str]] = {}
    for node in sorted(layer_of, key=lambda n: (names.get(n, n), n)):
        by_layer.setdefault(layer_of[node], []).append(node)
    _untangle(by_layer, layer_of, edges)
    hidden = {i: len(nodes) - MOST_IN_LAYER for i, nodes in by_layer.items()}
    shown = {i: nodes[:MOST_IN_LAYER] for i, nodes in by_layer.items()}
    order = sorted(shown)
    rows = {i: len(shown[i]) + (hidden[i] > 0) for i in order}
    tallest = max(rows.values())
    step_y, step_x = NODE_HEIGHT + _ROW_GAP, NODE_WIDTH + _LAYER_GAP
    height = 2 * _MARGIN + tallest * step_y - _ROW_GAP
    nodes: list[PlacedNode] = []
    for column, i in enumerate(order):
        x = _MARGIN + column * step_x
        top = _MARGIN + (tallest - rows[i]) * step_y // 2
        nodes += [PlacedNode(mcon=m, x=x, y=top + row * step_y) for row, m in enumerate(shown[i])]
        if hidden[i] > 0:
            nodes.append(PlacedNode(mcon=None, x=x, y=top + len(shown[i]) * step_y, more=hidden[i]))
    places = {n.mcon: n for n in nodes if n.mcon is not None}
    drawn = tuple((s, d, _curve(places[s], places[d])) for s, d in sorted(edges) if s in places and d in places)
    width = 2 * _MARGIN + len(order) * step_x - _LAYER_GAP
    return Graph(width=width, height=height, nodes=tuple(nodes), edges=drawn)


def _untangle(by_layer: dict[int, list[str]], layer_of: Mapping[str, int], edges: Collection[tuple[str, str]]) -> None:
    """Order each layer by the mean place of its neighbours, outwards and back again (barycentre method)."""
    near: dict[str, list[str]] = {}
    for source, destination in edges:
        near.setdefault(source, []).append(destination)
        near.setdefault(destination, []).append(source)
    for sweep in range(_SWEEPS):
        for i in sorted(by_layer, key=abs, reverse=bool(sweep % 2)):
            place = {n: row / max(1, len(nodes)) for nodes in by_layer.values() for row, n in enumerate(nodes)}

            def mean(node: str, own: int = i, place: Mapping[str, float] = place) -> float:
                others = [place[n] for n in near.get(node, ()) if n in place and layer_of[n] != own]
                return sum(others) / len(others) if others else place[node]

            by_layer[i].sort(key=mean)


def _curve(source: PlacedNode, destination: PlacedNode) -> str:
    y1, y2 = source.y + NODE_HEIGHT // 2, destination.y + NODE_HEIGHT // 2
    if source.x == destination.x:
        right = source.x + NODE_WIDTH
        return f"M{right} {y1} C{right + 44} {y1} {right + 44} {y2} {right} {y2}"
    backward = destination.x < source.x
    x1 = source.x if backward else source.x + NODE_WIDTH
    x2 = destination.x + NODE_WIDTH if backward else destination.x
    middle = (x1 + x2) / 2
    return f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
