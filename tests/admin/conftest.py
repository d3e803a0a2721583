"""Two tenants, and a browser for each kind of administrator."""

from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client

from channels_app.core import log, tenancy
from channels_app.core.log import Entry
from channels_app.core.types import Draft
from channels_app.models import AdministratorKey, ApiKey, Channel, Group, Instance, InstanceUser

MODELS = ("instance", "channel", "apikey", "instanceuser", "group", "administratorkey")
BASE = "/admin/channels_app"

# What the page of an instance sends when nothing is in its inlines.
NOTHING_INLINE = {
    f"{inline}-{number}_FORMS": 0 for inline in ("collaborators", "twilio_service") for number in ("TOTAL", "INITIAL")
}


@dataclass
class Tenant:
    """One instance with one of everything in it, and a further key of its owner's account."""

    owner: User
    instance: Instance
    channel: Channel
    key: ApiKey
    user: InstanceUser
    group: Group
    account_key: AdministratorKey

    @property
    def objects(self) -> dict[str, Model]:
        """By the name that their pages have in a URL."""
        return {
            "instance": self.instance,
            "channel": self.channel,
            "apikey": self.key,
            "instanceuser": self.user,
            "group": self.group,
            "administratorkey": self.account_key,
        }

    def page(self, model: str) -> str:
        """The URL of an object's pages, without what follows the id."""
        return f"{BASE}/{model}/{self.objects[model].pk}"


def make_tenant(name: str) -> Tenant:
    owner = User.objects.create_user(f"{name}-owner", password="x", is_staff=True)
    instance = tenancy.create_instance(owner=owner, name=name)
    channel = tenancy.create_channel(instance, name=f"{name}-news", type="separate_rooms", custom_publish=True)
    key, _ = tenancy.create_api_key(instance, description=f"{name} key")
    user = tenancy.create_user(instance, username=f"{name}-user", password="x")
    group = Group.objects.create(instance=instance, label=f"{name} group")
    account_key, _ = tenancy.create_administrator_key(tenancy.administrator_of(owner), description=f"{name} account key")
    return Tenant(owner, instance, channel, key, user, group, account_key)


@pytest.fixture
def rivia(db: None) -> Tenant:
    return make_tenant("rivia")


@pytest.fixture
def novigrad(db: None) -> Tenant:
    return make_tenant("novigrad")


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def owner(rivia: Tenant) -> Client:
    """The browser of rivia's owner, who is no superuser and has no model permission."""
    return logged_in(rivia.owner)


@pytest.fixture
def superuser(db: None) -> Client:
    return logged_in(User.objects.create_superuser("root", password="x"))


def fill(channel: Channel, rooms: list[str]) -> None:
    """One message to each of the rooms, in that order; their payloads are {"n": 1}, {"n": 2}…"""
    log.append([Entry(channel.pk, Draft(f'{{"n":{n}}}', '{"api_key":1}', room)) for n, room in enumerate(rooms, 1)])
