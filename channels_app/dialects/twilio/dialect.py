"""Twilio Sync, stream messages, as the server's registry sees it (wire/twilio.md)."""

from string import ascii_uppercase

from channels_app.conf import conf
from channels_app.dialects.base import Dialect

from .transport import too_large

TWILIO = Dialect(
    name="twilio",
    # Its resources begin with a capital. What begins with a small letter under /v1/ is Syncano's.
    prefixes=(*(f"/v1/{capital}" for capital in ascii_uppercase), "/v3/"),
    urlconf="channels_app.dialects.twilio.urls",
    routing="channels_app.dialects.twilio.routing.routes",
    max_body=lambda: conf.TWILIO_MAX_BODY,
    too_large=too_large,
    express="channels_app.dialects.twilio.express.PUBLISH_ROUTE",
)
