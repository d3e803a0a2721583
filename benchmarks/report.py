"""What is printed: for each measure the medians, their spread, and how ours compares in the same run."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from .generator import BUSY
from .targets import OURS
from .tasks import Figure


@dataclass(frozen=True)
class Row:
    """All figures of one target for one measure."""

    figures: Sequence[Figure]

    @property
    def first(self) -> Figure:
        return self.figures[0]

    @property
    def median(self) -> float:
        return median(figure.value for figure in self.figures)

    @property
    def spread(self) -> float:
        """The distance of the furthest figure from the median, as a share of it."""
        return max(abs(figure.value / self.median - 1) for figure in self.figures) if self.median else 0.0

    @property
    def generator_cpu(self) -> float:
        return median(figure.generator_cpu for figure in self.figures)

    @property
    def faults(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for figure in self.figures:
            for name, count in figure.faults.items():
                total[name] = total.get(name, 0) + count
        return total

    def ratio(self, ours: "Row") -> float:
        """How many times better ours is: the median over the rounds, each compared with its own."""
        pairs = list(zip(ours.figures, self.figures, strict=False))
        ratios = [a.value / b.value if a.higher_is_better else b.value / a.value for a, b in pairs if a.value and b.value]
        return median(ratios) if ratios else 0.0


def rows(figures: Iterable[Figure]) -> dict[str, dict[str, Row]]:
    """By measure, by target, both in the order of their first figure."""
    found: dict[str, dict[str, list[Figure]]] = {}
    for figure in figures:
        found.setdefault(figure.measure, {}).setdefault(figure.who, []).append(figure)
    return {measure: {who: Row(each) for who, each in by_target.items()} for measure, by_target in found.items()}


def table(figures: Sequence[Figure]) -> str:
    """Markdown."""
    lines = ["", "| | median | spread | this server is | load generator | faults |", "|---|--:|--:|--:|--:|---|"]
    for measure, by_target in rows(figures).items():
        unit = next(iter(by_target.values())).first.unit
        lines.append(f"| **{measure}**, {unit} | | | | | |")
        lines += _lines(by_target)
    return "\n".join(lines)


def _lines(by_target: dict[str, Row]) -> Iterator[str]:
    ours = by_target.get(OURS.name)
    for who, row in by_target.items():
        name = f"{who} ({row.first.note})" if row.first.note else who
        compared = f"{row.ratio(ours):.2f} ×" if ours and who != OURS.name and not row.first.note else ""
        busy = f"{row.generator_cpu:.0%}{' !' if row.generator_cpu > BUSY else ''}"
        faults = ", ".join(f"{count} {kind}" for kind, count in row.faults.items()) or "none"
        yield f"| {name} | {number(row.median)} | ±{row.spread:.0%} | {compared} | {busy} | {faults} |"


def number(value: float) -> str:
    """Three significant digits."""
    if value >= 100:
        digits = len(str(int(value)))
        return f"{round(value, 3 - digits):,.0f}"
    return f"{value:.3g}"


def save(figures: Sequence[Figure], path: Path) -> None:
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))


def load(path: Path) -> list[Figure]:
    return [Figure(**values) for values in json.loads(path.read_text())]
