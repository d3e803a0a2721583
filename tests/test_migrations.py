"""Migrations that move what is there, run on rows of the version before them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

Migrate = Callable[[str], Any]


@pytest.fixture
def migrate(transactional_db: None) -> Iterator[Migrate]:
    """Take the database to the state after that migration; answers the models of that state."""

    def migrate(name: str) -> Any:
        executor = MigrationExecutor(connection)
        return executor.migrate([("channels_app", name)]).apps

    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("channels_app")[0][1]
    yield migrate
    migrate(newest)


def test_everything_that_was_there_before_0002_gets_a_sid_of_its_own(migrate: Migrate) -> None:
    before = migrate("0001_initial")
    for number in range(3):
        user = get_user_model().objects.create_user(f"user-{number}")
        before.get_model("channels_app", "Administrator").objects.create(user_id=user.pk, key_digest=str(number))
        instance = before.get_model("channels_app", "Instance").objects.create(name=f"name-{number}", owner_id=user.pk)
        before.get_model("channels_app", "Channel").objects.create(name="channel", instance_id=instance.pk)
    after = migrate("0002_twilio")
    for name in ("Administrator", "Instance", "Channel"):
        uuids = set(after.get_model("channels_app", name).objects.values_list("uuid", flat=True))
        assert len(uuids) == 3
        assert None not in uuids
