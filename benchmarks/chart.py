"""The chart: bars on a logarithmic scale, drawn as SVG by hand. Readable on a light and on a dark page."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from .report import Row, number, rows
from .targets import OURS
from .tasks import Figure

SHOWN = (
    "fan-out to 1,000, 16 in flight",
    "fan-out to 1,000, 1 in flight",
    "publish over HTTP, 32 connections",
    "latency p99, 20 messages/s to 1,000",
    "replay of 10,000 messages to a new subscriber",
    "memory of an idle WebSocket",
)
WIDTH, LABELS, VALUES = 760, 150, 150
BAR, GAP, TITLE = 18, 5, 40
# Media queries in an image follow the reader's page; the middle greys do on both where a viewer ignores them.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.quiet { fill: #6e7781 }
.bar { fill: #8c959f }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .quiet { fill: #8b949e }
  .bar { fill: #6e7681 }
  .ours { fill: #4493f8 }
}
"""


def write(figures: Sequence[Figure], path: Path) -> None:
    found = rows(figures)
    parts = ['<text x="0" y="16" class="quiet">Lengths are logarithmic: the figures are beside them.</text>']
    y = 22
    for measure in SHOWN:
        if measure in found:
            parts += _panel(measure, found[measure], y)
            y += TITLE + len(found[measure]) * (BAR + GAP)
    path.parent.mkdir(parents=True, exist_ok=True)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + GAP}" role="img"><style>{STYLE}</style>'
    path.write_text("\n".join([svg, *parts, "</svg>\n"]))


def _panel(measure: str, by_target: dict[str, Row], y: int) -> Iterator[str]:
    first = next(iter(by_target.values())).first
    better = "more is better" if first.higher_is_better else "less is better"
    yield f'<text x="0" y="{y + 24}" class="title">{escape(measure)} <tspan class="quiet">{first.unit}, {better}</tspan></text>'
    low, high = _scale(row.median for row in by_target.values())
    y += TITLE - GAP
    for who, row in by_target.items():
        share = (math.log10(max(row.median, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
        length = max(2, share * (WIDTH - LABELS - VALUES))
        kind = "bar ours" if who == OURS.name else "bar"
        note = f' <tspan class="quiet">{escape(row.first.note)}</tspan>' if row.first.note else ""
        yield f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(who)}</text>'
        yield f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{length:.0f}" height="{BAR}" rx="2"/>'
        yield f'<text x="{LABELS + length + 6:.0f}" y="{y + 14}">{number(row.median)}{note}</text>'
        y += BAR + GAP


def _scale(values: Iterator[float]) -> tuple[float, float]:
    """Whole powers of ten: a bar's length then says which order of magnitude a value has."""
    known = [value for value in values if value > 0] or [1.0]
    low, high = 10 ** math.floor(math.log10(min(known) / 2)), 10 ** math.ceil(math.log10(max(known)))
    return float(low), float(max(high, low * 10))
