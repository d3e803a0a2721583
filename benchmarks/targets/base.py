"""What a target is to the tasks."""

import abc
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Running:
    """A server that listens. The lists are arguments of the load generator: how to join, and how to publish.

    The default is a WebSocket that hears everything and a POST that publishes to it.
    """

    subscribe: list[str]
    publish: list[str]
    pids: list[int] = field(default_factory=list)


class Target(abc.ABC):
    name: str
    receipt: str  # what the answer to a publish means
    publishes_over_http = True
    most_subscribers = 100_000  # past this it is not asked: it would take minutes
    rate = 20.0  # messages a second to 1,000 subscribers that it can keep up with, for the latency task

    def missing(self) -> str:
        """Why it cannot be measured here; "" when it can."""
        return ""

    @abc.abstractmethod
    def start(self, folder: Path) -> AbstractContextManager[Running]:
        """Serve, with all that is kept in the folder, which is empty."""
