"""`manage.py trim`: retention now."""

from typing import Any

from django.core.management.base import BaseCommand

from channels_app.core import retention
from channels_app.management.database import require_migrated


class Command(BaseCommand):
    help = (
        "Remove what retention lets go, now: expired channels, messages past their channel's age or count, expired "
        "idempotency keys, and the rows of deleted channels. The server does this by itself every PUBSUB_RETENTION_INTERVAL "
        "seconds. Goes in small batches: publishes go on meanwhile."
    )

    def handle(self, *, verbosity: int, **_: Any) -> None:
        require_migrated()
        swept = retention.sweep(self.stdout.write if verbosity else None)
        removed = f"{swept.channels} expired channels, {swept.messages} messages and {swept.purged} rows of deleted channels"
        self.stdout.write(f"Removed {removed}.")
