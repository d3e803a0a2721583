"""`python -m benchmarks.fill INSTANCE CHANNEL=COUNT…`: append messages through the log, without the server in front of it."""

import os
import sys

BATCH = 1_000


def main(instance_name: str, *wanted: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pubsub_site.settings")
    import django

    django.setup()

    from channels_app.core import directory, log
    from channels_app.core.types import Draft

    instance = directory.instance(instance_name)
    draft = Draft(payload='{"c":0,"n":0,"t":0,"p":"%s"}' % ("x" * 80), author='{"api_key":1}')
    for each in wanted:
        name, _, count = each.partition("=")
        channel = directory.channel(instance, name)
        for start in range(0, int(count), BATCH):
            log.append([log.Entry(channel.id, draft)] * min(BATCH, int(count) - start))


if __name__ == "__main__":
    main(*sys.argv[1:])
