"""What this process counts of itself, for Prometheus; `server.health` shows it at /metrics, docs/operations.md explains it.

Labels have few values, all of them ours: no instance, channel or key is ever one. A counter takes a lock, which costs
0.3 µs: fine for a batch, too much for a delivery or a publish. Those are counted in plain numbers (`Readers`, `Publishes`).
"""

import bisect
import itertools
import time
from collections.abc import Iterable, Sequence
from threading import Lock
from types import TracebackType

from prometheus_client import REGISTRY, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .errors import PubSubError
from .recovery import Event
from .types import Front, Gap, GapReason, Receipt

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be a third of all lines, which nobody reads

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

COMMIT_MESSAGES = Histogram("pubsub_commit_messages", "Messages stored by one transaction.", buckets=MESSAGES)
COMMIT_SECONDS = Histogram("pubsub_commit_seconds", "What one transaction of publishes took.", buckets=SECONDS)
SLOW_FALLBACKS = Counter("pubsub_slow_fallbacks_total", "Subscribers that were too slow, and went on by reading the log.")
GAPS_FILLED = Counter("pubsub_gaps_filled_total", "Rooms whose hints left something out, which was read from the log.")
GAP_NOTICES = Counter("pubsub_gap_notices_total", "Notices that something a reader had not read is gone.", ["reason"])
HINTS = Counter(
    "pubsub_hints_total",
    "Hints between processes: sent, received, failed to be sent, or missed and made up for by the safety poll.",
    ["event"],
)
CLOSES = Counter(
    "pubsub_closes_total", "Live connections ended, by close code; 'client': it hung up.", ["dialect", "transport", "code"]
)
RETENTION_ROWS = Counter("pubsub_retention_rows_total", "Rows removed: of messages, and of deleted channels.", ["kind"])
PUSHES = Counter(
    "pubsub_pushes_total",
    "Requests sent to others (webhooks): delivered, dropped for good, or retried: one attempt that will be repeated.",
    ["outcome"],
)
DIRECTORY_LOADS = Counter("pubsub_directory_loads_total", "Keys, instances and channels looked up in the database.")

# Named before they happen, so that a rate has something to start from.
HINTS_SENT, HINTS_RECEIVED, HINTS_FAILED, HINTS_MISSED = map(HINTS.labels, ("sent", "received", "failed", "missed"))
PUSHES_DELIVERED, PUSHES_DROPPED, PUSHES_RETRIED = map(PUSHES.labels, ("delivered", "dropped", "retried"))
MESSAGE_ROWS, PURGED_ROWS = map(RETENTION_ROWS.labels, ("message", "purged"))
_GAP_NOTICES = {reason: GAP_NOTICES.labels(str(reason)) for reason in GapReason}


class Publishes(Collector):
    """What became of publishes and how long each took, in plain numbers: two metrics of the library's would cost a publish
    three locks, and a twentieth of its time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._outcomes: dict[tuple[Front, str], int] = {}
        self._buckets = [0] * (len(SECONDS) + 1)
        self._seconds = 0.0

    def add(self, front: Front, outcome: str, seconds: float) -> None:
        kind = front, outcome
        with self._lock:
            self._outcomes[kind] = self._outcomes.get(kind, 0) + 1
            self._buckets[bisect.bisect_left(SECONDS, seconds)] += 1
            self._seconds += seconds

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            outcomes, buckets, seconds = self._outcomes.copy(), self._buckets.copy(), self._seconds
        told = "Publishes: stored, duplicate, or the code of an error."
        published = CounterMetricFamily("pubsub_published_total", told, labels=["dialect", "front", "outcome"])
        for (front, outcome), count in outcomes.items():
            published.add_metric([*front, outcome], count)
        yield published
        up_to = zip([*map(str, SECONDS), "+Inf"], itertools.accumulate(buckets), strict=True)
        told = "From a publish's arrival in the core to its answer."
        yield HistogramMetricFamily("pubsub_publish_seconds", told, buckets=list(up_to), sum_value=seconds)


_publishes = Publishes()
REGISTRY.register(_publishes)


class Publishing:
    """Times one publish, from when this is made, and counts what became of it when `end` is told.

    Or as a context: `with Publishing(front) as counted: return counted.done(receipt)`.
    """

    __slots__ = ("_front", "_receipt", "_started")

    def __init__(self, front: Front) -> None:
        self._front = front
        self._receipt: Receipt | None = None
        self._started = time.perf_counter()

    def end(self, outcome: Receipt | BaseException | None) -> None:
        if isinstance(outcome, Receipt):
            name = "duplicate" if outcome.duplicate else "stored"
        else:
            name = outcome.code if isinstance(outcome, PubSubError) else "failed"
        _publishes.add(self._front, name, time.perf_counter() - self._started)

    def done(self, receipt: Receipt) -> Receipt:
        self._receipt = receipt
        return receipt

    def __enter__(self) -> "Publishing":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.end(error or self._receipt)


def count_commit(messages: int, started: float) -> None:
    """`started` is of `time.perf_counter`."""
    COMMIT_MESSAGES.observe(messages)
    COMMIT_SECONDS.observe(time.perf_counter() - started)


def count_close(front: Front, code: int | None) -> None:
    """`code` of the server's reason; None: the client hung up."""
    CLOSES.labels(*front, "client" if code is None else str(code)).inc()


def count_gap(events: Sequence[Event]) -> None:
    """Count the gap among what is given next, to one reader or to all of a dispatcher: it always comes first."""
    if events and isinstance(events[0], Gap):
        _GAP_NOTICES[events[0].reason].inc()


class Readers:
    """The live subscribers of one front and the events they were given, as integers that only their event loop changes."""

    __slots__ = ("delivered", "live")

    def __init__(self) -> None:
        self.live = 0
        self.delivered = 0


_readers: dict[Front, Readers] = {}


def readers(front: Front) -> Readers:
    return _readers.setdefault(front, Readers())


class ReadersCollector(Collector):
    """Reads the integers when somebody asks for the metrics."""

    def collect(self) -> Iterable[Metric]:
        labels = ["dialect", "transport"]
        live = GaugeMetricFamily("pubsub_subscribers", "Live connections.", labels=labels)
        delivered = CounterMetricFamily("pubsub_delivered_total", "Messages given to live connections.", labels=labels)
        for front, counted in list(_readers.items()):
            live.add_metric(front, counted.live)
            delivered.add_metric(front, counted.delivered)
        yield live
        yield delivered


REGISTRY.register(ReadersCollector())
