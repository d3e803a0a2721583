"""`manage.py renew_epochs`: after a backup was restored."""

from typing import Any

from django.core.management.base import BaseCommand

from channels_app.core import log
from channels_app.management.database import require_migrated, sole_user_of_sqlite


class Command(BaseCommand):
    help = (
        "Put every channel under a new epoch. Run it once after restoring a backup, before the server starts: ids that were "
        "given after the backup will be given again, to other messages, and with a new epoch every client that comes back "
        "with its old one is told so instead of missing them."
    )

    def handle(self, **_: Any) -> None:
        require_migrated()
        with sole_user_of_sqlite("stop it first."):
            self.stdout.write(f"{log.renew_epochs()} channels have a new epoch.")
