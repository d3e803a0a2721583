"""Look-ups are remembered for a moment, forgotten at once when they change here, and never across tenants."""

import json
import time
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from channels_app.core import directory, tenancy
from channels_app.core.credentials import Credentials, masked, seal, unseal
from channels_app.core.errors import InvalidKey, NotFound
from channels_app.core.principals import ANONYMOUS
from channels_app.models import ApiKey, Collaborator, DirectoryVersion


@pytest.fixture
def info(instance):
    return directory.instance("rivia")


@pytest.fixture
def key(instance):
    return tenancy.create_api_key(instance)


def who(text, info, user_key=None):
    return directory.resolve(Credentials.of(text, user_key), info)


def test_names_are_found_in_any_case_and_nothing_else_is(instance, channel):
    info = directory.instance("RIVIA")
    assert directory.channel(info, "Witchers").id == channel.id
    for name in ("", "a b", "a\0b", "ä" * 5, "x" * 65, "rivia' OR 1=1"):
        with pytest.raises(NotFound):
            directory.instance(name)
        with pytest.raises(NotFound):
            directory.channel(info, name)


def test_an_answer_is_remembered(info, channel):
    directory.channel(info, "witchers")
    with CaptureQueriesContext(connection) as queries:
        directory.channel(info, "witchers")
    assert len(queries) == 0


def test_a_change_here_is_seen_at_once(info, instance, channel):
    assert not directory.channel(info, "witchers").separate_rooms
    row = instance.channels.get(name="witchers")
    row.other_permissions = "publish"
    row.save()
    assert directory.channel(info, "witchers").other_permissions == "publish"


def test_an_answer_that_was_loaded_before_a_change_is_not_remembered_after_it(info, channel, monkeypatch):
    load = directory._load_channel

    def load_while_it_changes(of, name):
        found = load(of, name)
        directory.forget()
        return found

    monkeypatch.setattr(directory, "_load_channel", load_while_it_changes)
    directory.channel(info, "witchers")
    with CaptureQueriesContext(connection) as queries:
        directory.channel(info, "witchers")
    assert len(queries) == 1


def test_a_change_while_an_answer_is_being_remembered_is_not_missed():
    class Change:
        def __hash__(self):
            memory.clear()  # another thread, which runs at the worst moment
            return 0

    memory = directory._Memory()
    memory.put(Change(), "an answer", memory.entries)
    assert not memory.entries
    memory.put("part", part := object(), memory.entries)
    memory.join(Change(), {"part": part})
    assert not memory.entries


def test_nobody_is_anonymous(info):
    assert who(None, info) is ANONYMOUS
    assert who("", info) == ANONYMOUS


@pytest.mark.parametrize("text", ["x", "0" * 39 + "1", "0" * 40, "g" * 40, "0" * 41, "ключ", "\ud800"])
def test_an_unknown_or_malformed_key_is_no_key(info, text):
    with pytest.raises(InvalidKey):
        who(text, info)


def test_a_key_is_good_in_any_case_and_in_its_own_instance_only(info, key, owner):
    row, secret = key
    assert who(secret.text.upper(), info).api_key_id == row.pk
    other = tenancy.create_instance(owner=owner, name="cintra")
    with pytest.raises(InvalidKey):
        who(secret.text, directory.instance(other.name))


def test_a_revoked_key_is_no_key(info, key):
    row, secret = key
    who(secret.text, info)
    tenancy.revoke_api_key(row)
    with pytest.raises(InvalidKey):
        who(secret.text, info)


def test_a_rotated_key_works_beside_its_successor_until_the_overlap_ends(info, key):
    row, old = key
    new = tenancy.rotate_api_key(row, overlap=timedelta(hours=1))
    assert who(old.text, info) == who(new.text, info)
    ApiKey.objects.update(previous_expires_at=timezone.now() - timedelta(seconds=1))
    directory.forget()
    with pytest.raises(InvalidKey):
        who(old.text, info)
    assert who(new.text, info).api_key_id == row.pk


def test_a_key_rotated_without_overlap_stops_at_once(info, key):
    row, old = key
    tenancy.rotate_api_key(row)
    with pytest.raises(InvalidKey):
        who(old.text, info)


def test_a_user_key_speaks_for_its_user_and_an_unknown_one_for_nobody(info, instance, key, owner):
    _, secret = key
    user = tenancy.create_user(instance, username="Ciri", password="a-good-password")
    group = instance.groups.create(label="witchers")
    tenancy.add_to_group(user, group)
    text = unseal(user.key_sealed)
    principal = who(secret.text, info, text)
    assert (principal.user_id, principal.group_ids) == (user.pk, {group.pk})
    assert json.loads(principal.author_json) == {"api_key": principal.api_key_id, "user": user.pk}
    assert who(secret.text, info, "0" * 40).user_id == 0
    other = tenancy.create_instance(owner=owner, name="cintra")
    _, other_secret = tenancy.create_api_key(other)
    assert who(other_secret.text, directory.instance("cintra"), text).user_id == 0


def test_an_account_key_has_its_role_in_own_instances_and_learns_nothing_of_others(info, instance, owner):
    stranger = get_user_model().objects.create_user("yen", "yen@vengerberg.example", "a-good-password")
    text = unseal(tenancy.administrator_of(stranger).key_sealed)
    with pytest.raises(NotFound):
        who(text, info)
    Collaborator.objects.create(instance=instance, user=stranger, role="read")
    assert who(text, info).role == "read"
    assert who(unseal(tenancy.administrator_of(owner).key_sealed), info).role == "full"


def test_an_inactive_administrators_key_is_no_key(info, owner):
    text = unseal(tenancy.administrator_of(owner).key_sealed)
    owner.is_active = False
    owner.save()
    with pytest.raises(InvalidKey):
        who(text, info)


def test_last_used_is_written_off_the_hot_path(info, key):
    row, secret = key
    who(secret.text, info)
    row.refresh_from_db()
    assert row.last_used_at is None
    directory.write_last_used()
    row.refresh_from_db()
    assert row.last_used_at is not None


def test_secrets_are_not_in_what_is_stored_or_printed(key):
    row, secret = key
    stored = " ".join(str(value) for value in vars(row).values())
    assert secret.text not in stored
    assert secret.text not in repr(secret)
    assert masked(row.prefix) == secret.text[:8] + "•" * 32


def test_sealed_secrets_survive_the_rotation_of_seal_keys(settings):
    first, second = "jGx3zVYdVxK6oKXDXyFJ9m4i3kD9bJ5y9xFPcJzqzKo=", "v3Vv0v2xJ4b2l0bF0rZ2Zk3b1Q3yQ0m9o4m4i5QwE9s="
    settings.PUBSUB = {"SEAL_KEYS": [first]}
    sealed = seal("secret")
    settings.PUBSUB = {"SEAL_KEYS": [second, first]}
    assert unseal(sealed) == "secret"


def test_an_account_is_known_by_its_own_key_and_by_further_ones_each_under_its_name(info, owner):
    administrator = tenancy.administrator_of(owner)
    row, secret = tenancy.create_administrator_key(administrator)
    own = Credentials.of_account(administrator.uuid, unseal(administrator.key_sealed))
    further = Credentials.of_account_key(row.uuid, secret.text)
    for credentials in (own, further):
        principal = directory.resolve(credentials, info)
        assert (principal.administrator_id, principal.account, principal.role) == (owner.pk, administrator.uuid, "full")


def test_a_secret_is_no_key_under_another_name(info, owner):
    administrator = tenancy.administrator_of(owner)
    row, secret = tenancy.create_administrator_key(administrator)
    other, _ = tenancy.create_administrator_key(administrator)
    token = unseal(administrator.key_sealed)
    for credentials in (
        Credentials.of_account(row.uuid, token),
        Credentials.of_account(administrator.uuid, secret.text),
        Credentials.of_account_key(administrator.uuid, token),
        Credentials.of_account_key(other.uuid, secret.text),
        Credentials.of_account(administrator.uuid, ""),
        Credentials.of(secret.text),
    ):
        with pytest.raises(InvalidKey):
            directory.resolve(credentials, info)


def test_a_further_key_stops_when_it_is_renewed_removed_or_its_administrator_inactive(info, owner):
    row, first = tenancy.create_administrator_key(tenancy.administrator_of(owner))
    second = tenancy.renew_administrator_key(row)
    good = Credentials.of_account_key(row.uuid, second.text)
    with pytest.raises(InvalidKey):
        directory.resolve(Credentials.of_account_key(row.uuid, first.text), info)
    assert directory.resolve(good, info).administrator_id == owner.pk
    owner.is_active = False
    owner.save()
    with pytest.raises(InvalidKey):
        directory.resolve(good, info)
    assert directory.signing_key(row.uuid) is None
    owner.is_active = True
    owner.save()
    assert directory.signing_key(row.uuid).secret == second.text
    row.delete()
    with pytest.raises(InvalidKey):
        directory.resolve(good, info)
    assert directory.signing_key(row.uuid) is None


def test_the_use_of_a_further_key_is_noted(info, owner):
    row, secret = tenancy.create_administrator_key(tenancy.administrator_of(owner))
    directory.resolve(Credentials.of_account_key(row.uuid, secret.text), info)
    directory.write_last_used()
    row.refresh_from_db()
    assert row.last_used_at is not None


def test_what_is_made_after_it_was_asked_for_is_there_at_once(info, instance):
    with pytest.raises(NotFound):
        directory.channel(info, "novigrad")
    with directory_of_another_process():
        tenancy.create_channel(instance, name="novigrad")
    assert directory.channel(info, "novigrad").name == "novigrad"


@contextmanager
def directory_of_another_process():
    """What is changed inside is not told to this process's memory."""
    mine, directory._memory = directory._memory, directory._Memory()
    yield
    directory._memory = mine


def test_an_expired_channel_is_gone_at_once_also_where_it_is_remembered(info, make_channel):
    channel = make_channel("cintra", expires_at=timezone.now() + timedelta(hours=1))
    assert directory.channel(info, "cintra").id == channel.id
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timezone, "now", lambda now=timezone.now: now() + timedelta(hours=2))
        with pytest.raises(NotFound):
            directory.channel(info, "cintra")
        directory.forget()
        with pytest.raises(NotFound):
            directory.channel(info, "cintra")


async def test_what_is_remembered_is_answered_without_a_thread(transactional_db, monkeypatch):
    loaded = []

    def ask():
        return directory.remember("lute", lambda: loaded.append(1) or "jaskier")

    assert await directory.asked(ask) == "jaskier"
    monkeypatch.setattr(directory, "in_thread", None)
    assert await directory.asked(ask) == "jaskier"
    assert len(loaded) == 1


@pytest.mark.django_db(transaction=True)
async def test_what_is_found_together_is_no_older_than_its_oldest_part_may_be(instance, channel, key, monkeypatch):
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(directory, "time", clock)
    asked = Credentials.of(key[1].text), "rivia", "witchers"

    async def may_ignore_acl_at(now: float) -> bool:
        clock.now = now
        _, principal, _ = await directory.asked(lambda: directory.find(*asked))
        return principal.ignore_acl

    await sync_to_async(who)(key[1].text, await sync_to_async(directory.instance)("rivia"))
    assert not await may_ignore_acl_at(100.6)  # the channel is looked up, the others are remembered
    await ApiKey.objects.filter(pk=key[0].pk).aupdate(ignore_acl=True)  # by another process: nobody is told
    assert not await may_ignore_acl_at(100.9)
    assert await may_ignore_acl_at(101.1)


def test_the_end_of_a_channel_takes_no_right_away_its_readers_hear_of_it_when_it_goes(make_channel):
    channel = make_channel("cintra", expires_at=timezone.now() - timedelta(seconds=1))
    assert directory.again(channel)[1].id == channel.id


def test_a_further_key_that_another_process_revoked_is_good_for_a_second_at_most(info, owner, monkeypatch):
    row, secret = tenancy.create_administrator_key(tenancy.administrator_of(owner))
    credentials = Credentials.of_account_key(row.uuid, secret.text)
    directory.resolve(credentials, info)
    directory.signing_key(row.uuid)
    with directory_of_another_process():
        row.delete()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1)
    with pytest.raises(InvalidKey):
        directory.resolve(credentials, info)
    assert directory.signing_key(row.uuid) is None


@pytest.mark.parametrize("whose", ["instance", "owner"])
def test_a_deletion_that_takes_long_holds_up_nobody_elses_changes(instance, owner, whose):
    """Whoever changes something raises the version, whose row is locked until the commit."""
    for name in ("vesemir", "eskel", "lambert"):
        tenancy.create_user(instance, username=name, password="a-good-password")
    directory.raise_version()
    before = directory.version()
    with CaptureQueriesContext(connection) as queries:
        if whose == "instance":
            tenancy.delete_instance(instance)
        else:
            tenancy.delete_administrators(get_user_model().objects.filter(pk=owner.pk))
    assert directory.version() == before + 1
    changes = [query["sql"] for query in queries if query["sql"].startswith(("UPDATE", "DELETE", "INSERT"))]
    assert [DirectoryVersion._meta.db_table in sql for sql in changes] == [False] * (len(changes) - 1) + [True], "at its end"
