"""The ASGI application: `channels_app.server.application` in front of Django."""

import logging
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pubsub_site.settings")
django_application: Any = get_asgi_application()
logging.getLogger("psycopg.pool").setLevel(logging.WARNING)  # why it cannot connect: nothing else says so while one serves

from channels_app.server.application import build  # noqa: E402  (needs Django set up)

application = build(django_application)
