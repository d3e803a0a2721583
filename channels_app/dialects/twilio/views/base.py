"""What all views of this wire share: who is asking, and for which service. Checks in the order of wire/twilio.md §4."""

from collections.abc import Callable
from typing import Any

from django.http import QueryDict
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.parsers import FormParser
from rest_framework.request import Request

from channels_app.core import throttling
from channels_app.core.directory import InstanceInfo
from channels_app.core.principals import Principal
from channels_app.dialects.rest import RestViewSet

from .. import auth, errors, sids
from ..transport import FormsOnly


class TwilioViewSet(RestViewSet):
    """The base: transport, credentials and errors of the wire."""

    parser_classes = [FormParser]
    content_negotiation_class = FormsOnly
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]  # preflights are answered before
    schema = None  # Twilio's own documentation describes it

    def get_exception_handler(self) -> Callable[..., Any]:
        return errors.exception_handler

    def enter(self, request: Request) -> None:
        self.credentials = auth.credentials(request.headers.get("Authorization", ""))
        request.auth = auth.account(self.credentials)
        if self.action is None:
            raise MethodNotAllowed(str(request.method))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response.headers["Twilio-Request-Id"] = sids.request_sid()
        return super().finalize_response(request, response, *args, **kwargs)

    @property
    def account(self) -> Principal:
        return self.request.auth  # type: ignore[return-value]  # set by `enter`

    @property
    def parameters(self) -> QueryDict:
        """What the form has; of a repeated parameter the last counts."""
        return self.request.data  # type: ignore[return-value]  # by its parsers


class ServiceScopedViewSet(TwilioViewSet):
    """Everything under `/Services/<service>/`."""

    service: InstanceInfo

    def enter(self, request: Request) -> None:
        super().enter(request)
        self.service = auth.service(self.account, self.kwargs["service"])
        throttling.check_instance(self.service)


class WithAddresses(TwilioViewSet):
    """Answers with addresses in them."""

    services_url: str

    def enter(self, request: Request) -> None:
        super().enter(request)
        # On the host that the client used: the helpers follow such addresses as they are. Made now, before anything is written:
        # it raises DisallowedHost.
        self.services_url = request.build_absolute_uri("/v1/Services")
