import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.baseline.settings")
http = get_asgi_application()

from .consumers import RoomConsumer  # noqa: E402  (needs Django set up)

websocket = URLRouter([path("ws/<slug:room>/", RoomConsumer.as_asgi())])
application = ProtocolTypeRouter({"http": http, "websocket": websocket})
