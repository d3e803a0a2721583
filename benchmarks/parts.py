"""`python -m benchmarks.parts`: what the log and the hints cost alone, without a server in front of them (docs/scaling.md).

Everything is measured in one thread of one process, against a PostgreSQL and a Redis of its own. The processor's time of this
process comes beside the rate: what else runs on the machine disturbs that much less.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .services import postgres_and_redis

BATCH = 100  # messages
SECONDS = 1.0
ROUNDS = 5
PAYLOAD = '{"text":"%s"}' % ("x" * 100)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, postgres_and_redis(Path(folder)) as environment:
        # Without its Redis: hints are a figure of their own.
        own = {"PUBSUB_DATA": folder, "REDIS_URL": "", "DJANGO_SETTINGS_MODULE": "pubsub_site.settings"}
        os.environ.update({**environment, **own})
        import django

        django.setup()
        measure_log()
        asyncio.run(measure_hints(environment["REDIS_URL"]))


def measure_log() -> None:
    from django.core.management import call_command
    from django.db import connection

    from channels_app.core import log
    from channels_app.core.database import with_connection
    from channels_app.core.types import Draft

    call_command("migrate", verbosity=0)
    for channel_id in range(BATCH):
        log.open_channel(channel_id)
    for channels in (1, 10, BATCH):
        for rooms in (0, 7):
            drafts = [Draft(PAYLOAD, '{"admin":1}', f"room {n % rooms}" if rooms else "") for n in range(BATCH)]
            batch = [log.Entry(n % channels, draft) for n, draft in enumerate(drafts)]
            _tell(f"log, {channels} channels, {rooms or 'no'} rooms", lambda batch=batch: with_connection(log.append, batch))
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's


async def measure_hints(redis_url: str) -> None:
    from channels_app.core.redis_layer import RedisLayer

    layer = RedisLayer(hosts=[redis_url], capacity=BATCH)
    event = {"type": "pubsub.advanced", "heads": {"": 7}, "messages": [[7, 6, "", 0, "custom", '{"admin":1}', "{}", PAYLOAD]]}
    groups = {f"pubsub.{n}": event for n in range(BATCH)}
    for group in groups:
        await layer.group_add(group, "listener")
    sent, received = [], []
    for _ in range(ROUNDS * 10):
        started = time.process_time()
        await layer.send_to_groups(groups, sender="publisher")
        between = time.process_time()
        arrived = 0
        while arrived < BATCH:
            arrived += len(await layer.receive_many("listener", 0))
        sent.append(between - started)
        received.append(time.process_time() - between)
    for name, costs in (("sent", sent), ("received", received)):
        print(f"hints {name}, {BATCH} together: {statistics.median(costs) / BATCH * 1e6:.1f} us of the processor's time each")
    await layer.close_pools()


def _tell(name: str, run: Callable[[], object]) -> None:
    rates, costs = [], []
    for _ in range(ROUNDS):
        count, started, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - started < SECONDS / ROUNDS:
            run()
            count += BATCH
        rates.append(count / (time.perf_counter() - started))
        costs.append((time.process_time() - cpu) / count * 1e6)
    print(f"{name}: {statistics.median(rates):,.0f} messages/s, {statistics.median(costs):.1f} us of the processor's time each")


if __name__ == "__main__":
    main()
