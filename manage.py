#!/usr/bin/env python
"""Django's command-line entry point for the pub/sub server."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pubsub_site.settings")
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError:
        sys.exit("This Python has no Django: use .venv/bin/python manage.py …, or pip install -r requirements.txt first.")
    from channels_app.management.failures import in_one_sentence

    with in_one_sentence():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
