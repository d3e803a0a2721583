"""`manage.py explain CODE`: why a live connection was closed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channels_app.core.types import CLOSE_REASONS

_RANGES = (
    (range(4000, 4100), "Stop: coming back with the same request will not help."),
    (range(4100, 4200), "Back off, then reconnect with the last id."),
    (range(4200, 4300), "Reconnect now with the last id: nothing is lost."),
)


class Command(BaseCommand):
    help = "Say what a close code of a live connection means, and what its client should do. Without a code: all of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", type=int, nargs="?", metavar="CODE", help="such as 4003")

    def handle(self, *, code: int | None, **_: Any) -> None:
        known = [(each.code, each.reason) for each in CLOSE_REASONS if code in (None, each.code)]
        if not known and code is not None and _advice(code):
            known = [(code, "not used by this version, but clients go by its range")]
        if not known:
            codes = ", ".join(str(each.code) for each in CLOSE_REASONS)
            raise CommandError(f"{code} is no close code of this server. It uses {codes}.")
        for number, reason in known:
            self.stdout.write(f"{number}  {reason}\n      {_advice(number)}")


def _advice(code: int) -> str | None:
    return next((text for codes, text in _RANGES if code in codes), None)
