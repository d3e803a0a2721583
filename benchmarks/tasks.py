"""What is measured. Each task starts a target in an empty folder, drives it with the load generator and yields figures.

Every task also checks what the figure is worth: `Figure.faults` names each message that was lost, repeated or out of order.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import generator
from .generator import Load
from .processes import ROOT, Peak, memory
from .services import postgres_and_redis
from .targets import JETSTREAM, OURS, TARGETS, Running, Target
from .targets.nchan import Nchan
from .targets.ours import OurServer

PUBLISHERS = 32


@dataclass(frozen=True)
class Options:
    seconds: float = 4.0
    quick: bool = False


@dataclass(frozen=True)
class Figure:
    """One measured value. `who` is the target's name; `note` says where it was measured differently from the others."""

    measure: str
    unit: str
    who: str
    value: float
    higher_is_better: bool = True
    generator_cpu: float = 0.0
    faults: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Task:
    """`run` yields the figures of one target; `targets` are those it makes sense for."""

    name: str
    title: str
    targets: tuple[Target, ...]
    run: Callable[[Target, Options], Iterator[Figure]]


@contextmanager
def _folder() -> Iterator[Path]:
    """An empty folder. Short, since PostgreSQL's socket in it may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as path:
        yield Path(path)


@contextmanager
def _started(target: Target) -> Iterator[Running]:
    with _folder() as folder, target.start(folder) as server:
        yield server


def _figure(target: Target, load: Load, measure: str, unit: str, value: float, **more: object) -> Figure:
    return Figure(measure, unit, target.name, value, generator_cpu=load.generator_cpu, faults=load.faults, **more)  # type: ignore[arg-type]


def _drive(
    server: Running, *, subscribers: int = 0, publishers: int = 0, look: Callable[[str], None] | None = None, **more: float
) -> Load:
    """Run the load generator against the server; `more` are options of its own."""
    arguments: list[str | float] = []
    if subscribers:
        arguments += [*server.subscribe, "--subscribers", subscribers]
    if publishers:
        arguments += [*server.publish, "--publishers", publishers]
    for name, value in more.items():
        arguments += [f"--{name}", value]
    return generator.run(arguments, look or (lambda event: None))


# Fan-out and latency


def fan_out(target: Target, options: Options) -> Iterator[Figure]:
    with _started(target) as server:
        for subscribers in (100, 1_000, 5_000):
            if subscribers > target.most_subscribers:
                continue
            for window in (16, 1):
                load = _drive(
                    server, subscribers=subscribers, publishers=window, window=window, seconds=options.seconds, idle=10
                )
                measure = f"fan-out to {subscribers:,}, {window} in flight"
                yield _figure(target, load, measure, "deliveries/s", load.deliveries_per_second)


def latency(target: Target, options: Options) -> Iterator[Figure]:
    with _started(target) as server:
        seconds = max(options.seconds, 5)
        load = _drive(server, subscribers=1_000, publishers=16, rate=target.rate, seconds=seconds)
        note = "" if target.rate == 20 else f"at {target.rate:g} messages/s"
        for name, value in (("p50", load.latency_p50_ms), ("p99", load.latency_p99_ms)):
            measure = f"latency {name}, 20 messages/s to 1,000"
            yield _figure(target, load, measure, "ms", value, higher_is_better=False, note=note)


# Publishing


def publish(target: Target, options: Options) -> Iterator[Figure]:
    with _started(target) as server:
        _drive(server, publishers=32, seconds=1.0)  # not counted: everybody's first requests are slower than all that follow
        for connections in (32, 128):
            load = _drive(server, publishers=connections, seconds=options.seconds)
            measure = f"publish over HTTP, {connections} connections"
            yield _figure(target, load, measure, "messages/s", load.answers_per_second)


def routes(target: Target, options: Options) -> Iterator[Figure]:
    """Each dialect's way to publish into one server, and how it compares with Syncano's in the same round."""
    with _folder() as folder, OURS.serve(folder, {"PUBSUB_TWILIO_STREAM_RATE": "0"}) as server:
        rates: dict[str, float] = {}
        for dialect, arguments in server.routes().items():
            server.publish = arguments
            load = _drive(server, publishers=PUBLISHERS, seconds=options.seconds)
            rates[dialect] = load.answers_per_second
            measure = f"publish over {dialect}'s route, {PUBLISHERS} connections"
            yield _figure(target, load, measure, "messages/s", rates[dialect])
            if dialect != "Syncano":
                share = rates[dialect] / rates["Syncano"]
                yield _figure(target, load, f"{dialect}'s route, as a share of Syncano's", "×", share)


def funnel(target: Target, options: Options) -> Iterator[Figure]:
    with _started(target) as server:
        load = _drive(server, subscribers=1, publishers=PUBLISHERS, seconds=options.seconds)
        yield _figure(target, load, f"{PUBLISHERS} publishers to one subscriber", "messages/s", load.deliveries_per_second)


# History


def replay(target: Target, options: Options) -> Iterator[Figure]:
    count = 10_000
    with _folder() as folder, _start_with_history(target, folder) as server:
        kept = _drive(server, publishers=PUBLISHERS, messages=count, seconds=60)
        load = _drive(server, subscribers=1, expect=count)
        faults = {**kept.faults, **load.faults}
        cpu = load.generator_cpu
        value = load.delivering_s * 1_000
        yield Figure(f"replay of {count:,} messages to a new subscriber", "ms", target.name, value, False, cpu, faults)


@contextmanager
def _start_with_history(target: Target, folder: Path) -> Iterator[Running]:
    if isinstance(target, Nchan):
        with target.serve(folder, replay=True) as server:
            yield server
    else:
        with OURS.serve(folder) as server:
            server.subscribe = server.subscribing("lobby", "&last_id=0")
            yield server


def depth(target: Target, options: Options) -> Iterator[Figure]:
    """The same requests to a channel with few messages and to one with a million."""
    full = 100_000 if options.quick else 1_000_000
    sizes = {"empty": 0, "few": 1_000, "full": full}
    with _folder() as folder:
        with OURS.serve(folder) as server:
            for channel in sizes:
                server.create_channel(channel)
            environment = server.environment
        fill(environment, server.instance, {channel: size for channel, size in sizes.items() if size})
        with OURS.serve(folder) as server:
            for channel, size in sizes.items():
                yield from _history_page(target, server, channel, size)
            for channel, size in (("few", 1_000), ("full", full)):
                server.publish = server.publishing(channel)
                load = _drive(server, publishers=PUBLISHERS, seconds=options.seconds)
                measure = f"publish into a channel of {size:,}"
                yield _figure(target, load, measure, "messages/s", load.answers_per_second)


def _history_page(target: Target, server: OurServer, channel: str, size: int) -> Iterator[Figure]:
    url = f"{server.urls[0]}{server.path(channel, 'history')}?page_size=100"
    key = f"X-API-KEY: {server.key}"
    load = generator.run(["--publish", url, "--publish-header", key, "--method", "GET", "--publishers", 1, "--messages", 300])
    yield _figure(target, load, f"history page of 100, channel of {size:,}", "ms", load.answer_p50_ms, higher_is_better=False)


def fill(environment: Mapping[str, str], instance: str, channels: Mapping[str, int]) -> None:
    """Append that many messages to each channel, through the log itself: a million over HTTP would take minutes."""
    command = [sys.executable, "-m", "benchmarks.fill", instance, *(f"{name}={count}" for name, count in channels.items())]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True)


# Memory


def idle(target: Target, options: Options) -> Iterator[Figure]:
    sockets = min(1_000 if options.quick else 10_000, target.most_subscribers)
    with _started(target) as server:
        _drive(server, subscribers=50, publishers=1, messages=5)  # what is made once is not the sockets'
        before, held = memory(server.pids), 0

        def look(event: str) -> None:
            nonlocal held
            if event == "ready":
                held = memory(server.pids)

        load = _drive(server, subscribers=sockets, publishers=1, messages=1, hold=2, idle=10, look=look)
        note = "" if sockets == 10_000 else f"with {sockets:,} sockets"
        size = (held - before) / sockets / 1024
        yield _figure(target, load, "memory of an idle WebSocket", "KiB", size, higher_is_better=False, note=note)
        reach = load.latency_max_ms
        yield _figure(target, load, "one publish to 10,000 sockets", "ms", reach, higher_is_better=False, note=note)


def slow_reader(target: Target, options: Options) -> Iterator[Figure]:
    """50 MB published to 50 sockets; then again with one beside them that does not read until all is published."""
    with _started(target) as server:
        _publish_much(server, stalled=0)  # what a server keeps for itself is not the slow reader's
        for stalled, readers in ((0, "50 readers"), (1, "50 readers, one more stalled")):
            load, growth = _publish_much(server, stalled)
            measure = f"50 MB to {readers}"
            yield _figure(target, load, f"{measure}: memory growth", "MiB", growth / 2**20, higher_is_better=False)
            yield _figure(target, load, f"{measure}: fast readers' p99", "ms", load.latency_p99_ms, higher_is_better=False)


def _publish_much(server: Running, stalled: int) -> tuple[Load, int]:
    """The load, and by how many bytes the server's memory grew at most while it was published."""
    peak = Peak(server.pids)
    start = 0

    def look(event: str) -> None:
        nonlocal start
        if event == "ready":
            start = memory(server.pids)
            peak.start()
        else:
            peak.stop()

    much = {"size": 50_000, "messages": 1_000, "window": 8, "seconds": 60, "idle": 10}
    load = _drive(server, subscribers=50 + stalled, stalled=stalled, publishers=4, look=look, **much)
    return load, peak.highest - start


# Several processes


def processes(target: Target, options: Options) -> Iterator[Figure]:
    """One process and two on PostgreSQL and Redis; nothing is pinned, since all of it shares the processors."""
    for count, name in ((1, "one process"), (2, "two processes")):
        with (
            _folder() as folder,
            postgres_and_redis(folder) as environment,
            OURS.serve(folder, {**environment, "PUBSUB_PROCESSES": str(count)}, processes=count, pinned=False) as server,
        ):
            where = f"PostgreSQL and Redis, {name}"
            for publishers in (PUBLISHERS, 128):
                load = _drive(server, publishers=publishers, seconds=options.seconds)
                yield _figure(
                    target, load, f"{where}: publish, {publishers} connections", "messages/s", load.answers_per_second
                )
            yield from _shared(target, server, where, options)
            if count > 1:
                at_one = replace(server, publish=server.publishing("lobby", at=server.urls[:1]))
                yield from _shared(target, at_one, f"{where}, publishes to one of them", options)
            yield from _routed(target, server, where, options)


def _shared(target: Target, server: OurServer, where: str, options: Options) -> Iterator[Figure]:
    """One channel, to which 1,000 listen at all processes."""
    for publishers, window in ((16, 1), (16, 16), (128, 0)):
        load = _drive(server, subscribers=1_000, publishers=publishers, window=window, seconds=options.seconds, idle=10)
        measure = f"{where}: fan-out to 1,000, {f'{window} in flight' if window else f'{publishers} publishers'}"
        yield _figure(target, load, measure, "deliveries/s", load.deliveries_per_second)


def _routed(target: Target, server: OurServer, where: str, options: Options) -> Iterator[Figure]:
    """Two channels, and all who use one of them at one process (docs/scaling.md, "Route by channel")."""
    sides = []
    for index, channel in enumerate(("left", "right")):
        server.create_channel(channel)
        at = (server.urls[index % len(server.urls)],)
        sides.append(replace(server, subscribe=server.subscribing(channel, at=at), publish=server.publishing(channel, at=at)))

    def both(**load: float) -> list[Load]:
        with ThreadPoolExecutor(len(sides)) as pool:
            return list(pool.map(lambda side: _drive(side, seconds=options.seconds, **load), sides))

    measure = f"{where}, two channels"
    loads = both(publishers=PUBLISHERS // 2)
    yield _sum(target, loads, f"{measure}: publish", "messages/s", [load.answers_per_second for load in loads])
    loads = both(subscribers=500, publishers=16, window=16, idle=10)
    yield _sum(target, loads, f"{measure}: fan-out to 500 each", "deliveries/s", [load.deliveries_per_second for load in loads])


def _sum(target: Target, loads: Sequence[Load], measure: str, unit: str, values: Iterable[float]) -> Figure:
    faults = Counter[str]()
    for load in loads:
        faults.update(load.faults)
    return Figure(
        measure, unit, target.name, sum(values), generator_cpu=sum(load.generator_cpu for load in loads), faults=faults
    )


_HTTP = tuple(target for target in TARGETS if target.publishes_over_http)
TASKS = (
    Task("fanout", "Fan-out", TARGETS, fan_out),
    Task("latency", "Latency", TARGETS, latency),
    Task("publish", "Publishing", (*_HTTP, JETSTREAM), publish),
    Task("routes", "Publishing over each dialect", (OURS,), routes),
    Task("funnel", "Many publishers, one subscriber", TARGETS, funnel),
    Task("replay", "Replay", tuple(target for target in TARGETS if target is OURS or isinstance(target, Nchan)), replay),
    Task("depth", "A deep channel", (OURS,), depth),
    Task("idle", "Idle connections", TARGETS, idle),
    Task("slow", "A client that does not read", (OURS,), slow_reader),
    Task("processes", "Several processes", (OURS,), processes),
)
