"""PostgreSQL connections that do not wait for ever, and leave nothing behind."""

import gc
import socket

import psycopg
import pytest

from channels_app.postgres import PromptConnection


@pytest.fixture
def _without_collections():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_collections")
def test_an_attempt_to_connect_that_took_too_long_is_given_up_at_once():
    """Else a server that was stopped for a while would find its connections used up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            PromptConnection.connect(host="127.0.0.1", port=silent.getsockname()[1], connect_timeout=2)
        peer, _ = silent.accept()
        with peer:
            peer.settimeout(10)
            while peer.recv(1024):
                pass  # what it had said; then the end
