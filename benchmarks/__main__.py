"""`python -m benchmarks`: measure, print a table, write the figures and the chart under build/benchmarks/."""

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from . import chart, generator, report
from .generator import LoadFailed
from .processes import CPUS, ROOT, DidNotStart
from .targets import OURS
from .tasks import TASKS, Figure, Options, Task

RESULTS = ROOT / "build" / "benchmarks"


def main() -> int:
    arguments = _parse()
    try:
        generator.build()
    except LoadFailed as error:
        print(error, file=sys.stderr)
        return 1
    tasks = [task for task in TASKS if task.name in arguments.tasks]
    options = Options(1.0 if arguments.quick else arguments.seconds, arguments.quick)
    print(f"{_machine()}. {arguments.rounds} rounds, {options.seconds:g} seconds a figure, all on loopback.")
    for name, reason in _absent(tasks).items():
        print(f"Left out: {name}, {reason}.")
    figures: list[Figure] = report.load(arguments.add_to) if arguments.add_to else []
    RESULTS.mkdir(parents=True, exist_ok=True)
    for turn in range(arguments.rounds):
        for task in tasks:
            figures += _run(task, options, f"round {turn + 1} of {arguments.rounds}")
            report.save(figures, RESULTS / "figures.json")  # each time: a run that is broken off has measured something
    print(report.table(figures))
    chart.write(figures, arguments.chart)
    print(f"\nEvery single figure: {RESULTS / 'figures.json'}   Chart: {arguments.chart}")
    return 1 if any(figure.faults for figure in figures if figure.who == OURS.name) else 0


def _parse() -> argparse.Namespace:
    names = [task.name for task in TASKS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=names, help=f"of {','.join(names)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured; the median counts")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each figure that is a rate")
    parser.add_argument("--quick", action="store_true", help="a second each, and smaller: to see that it works")
    parser.add_argument("--add-to", type=Path, metavar="FIGURES.JSON", help="count the figures of an earlier run as well")
    parser.add_argument("--chart", type=Path, default=RESULTS / "performance.svg", help="default: %(default)s")
    arguments = parser.parse_args()
    unknown = set(arguments.tasks) - set(names)
    if unknown:
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))}")
    return arguments


def _run(task: Task, options: Options, turn: str) -> list[Figure]:
    found = []
    for target in task.targets:
        if target.missing():
            continue
        print(f"  {turn}: {task.title}, {target.name}", file=sys.stderr)
        try:
            found += list(task.run(target, options))
        except (LoadFailed, DidNotStart) as error:
            print(f"{task.title}, {target.name}: no figure: {error}", file=sys.stderr)
    return found


def _absent(tasks: list[Task]) -> dict[str, str]:
    targets = {target.name: target for task in tasks for target in task.targets}
    return {name: target.missing() for name, target in targets.items() if target.missing()}


def _machine() -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    load = os.getloadavg()[0]
    return f"{when}, Python {platform.python_version()}, {len(CPUS)} processors, load {load:.1f} before"


if __name__ == "__main__":
    sys.exit(main())
