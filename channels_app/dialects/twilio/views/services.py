"""Services (wire/twilio.md §2)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from channels_app.core import tenancy

from .. import services
from ..pagination import Page, listing
from .base import ServiceScopedViewSet, WithAddresses


class ServicesViewSet(WithAddresses):
    """All that the account owns."""

    def list(self, request: Request) -> Response:
        page = Page.of(self.services_url, request.query_params)
        rows, addresses = page.read(services.rows(self.account))
        objects = [services.as_json(row, self.services_url) for row in rows]
        return Response(listing("services", page, addresses, objects))

    def create(self, request: Request) -> Response:
        row = services.create(self.account, self.parameters)
        return Response(services.as_json(row, self.services_url), status=201)


class ServiceViewSet(WithAddresses, ServiceScopedViewSet):
    def retrieve(self, request: Request, **_: Any) -> Response:
        return Response(services.as_json(services.find(self.account, self.service.id), self.services_url))

    def update(self, request: Request, **_: Any) -> Response:
        row = services.update(self.account, services.find(self.account, self.service.id), self.parameters)
        return Response(services.as_json(row, self.services_url))

    def destroy(self, request: Request, **_: Any) -> Response:
        tenancy.delete_instance(services.find(self.account, self.service.id))
        return Response(status=204)
