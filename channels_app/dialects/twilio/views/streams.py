"""Streams (wire/twilio.md §3). What is published to them: `messages`."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from .. import sids, streams
from ..errors import TwilioError
from ..pagination import Page, listing
from ..streams import Stream
from .base import ServiceScopedViewSet, WithAddresses


class StreamsViewSet(WithAddresses, ServiceScopedViewSet):
    @property
    def streams_url(self) -> str:
        """With SIDs also where the request used names."""
        return f"{self.services_url}/{sids.service_sid(self.service.uuid)}/Streams"

    def answer(self, stream: Stream, status: int = 200) -> Response:
        return Response(streams.as_json(stream, self.streams_url), status=status)

    def list(self, request: Request, **_: Any) -> Response:
        page = Page.of(self.streams_url, request.query_params)
        rows, addresses = page.read(streams.rows(self.service))
        objects = [streams.as_json(streams.of_row(row), self.streams_url) for row in rows]
        return Response(listing("streams", page, addresses, objects))

    def create(self, request: Request, **_: Any) -> Response:
        stream = streams.create(self.service, self.parameters.get("UniqueName"), self.parameters.get("Ttl"))
        return self.answer(stream, status=201)


class StreamViewSet(StreamsViewSet):
    def find(self) -> Stream:
        return streams.find(self.service, self.kwargs["stream"])

    def retrieve(self, request: Request, **_: Any) -> Response:
        return self.answer(self.find())

    def update(self, request: Request, **_: Any) -> Response:
        stream = self.find()
        if "Ttl" not in self.parameters:
            raise TwilioError(400, 54010, "No parameters to update")
        return self.answer(streams.update(self.service, stream, self.parameters["Ttl"]))

    def destroy(self, request: Request, **_: Any) -> Response:
        streams.delete(self.find())
        return Response(status=204)
