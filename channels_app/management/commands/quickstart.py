"""`manage.py quickstart`: something to play with, made once."""

import json
import os
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction

from channels_app.core import credentials, tenancy
from channels_app.dialects.twilio import sids
from channels_app.management.database import require_migrated, require_seal_key
from channels_app.models import Administrator, AdministratorKey, ApiKey, Channel, Instance

ADMINISTRATOR = "admin"
CHANNEL = "lobby"
KEY_DESCRIPTION = "quickstart"


@dataclass(frozen=True)
class Made:
    """`password`, `api_key` and Twilio's key are "" when they existed already: they cannot be shown a second time."""

    instance: str
    administrator: str
    password: str
    account_key: str
    api_key: str
    twilio: dict[str, str]


class Command(BaseCommand):
    help = (
        f"Make an administrator ({ADMINISTRATOR!r}), an instance with a channel ({CHANNEL!r}) and API keys that may do "
        "everything in it, and print how to publish, listen and read history. What exists already is used as it is. Secrets "
        f"are shown once, when they are made. A lost password: manage.py changepassword {ADMINISTRATOR}; a lost key: make "
        "another in the admin."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--instance", default="demo-instance", metavar="NAME", help="default: demo-instance")
        parser.add_argument(
            "--base-url",
            default=f"http://127.0.0.1:{os.environ.get('PORT') or 8000}",
            metavar="URL",
            help="where clients reach the server; default: http://127.0.0.1:$PORT, or port 8000",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="print one JSON object for programs, with new API keys each time, and nothing else",
        )

    def handle(self, *, instance: str, base_url: str, json: bool, **_: Any) -> None:
        base_url = web_address(base_url)
        require_migrated()
        require_seal_key()
        try:
            made = make(instance.lower(), always_new_key=json)
        except ValidationError as error:
            raise CommandError(f"--instance {instance}: {' '.join(error.messages)}") from None
        except IntegrityError:
            raise CommandError("Another quickstart ran at the same moment. Run it again.") from None
        if json and made.password:
            self.stderr.write(f"Administrator {made.administrator!r} was made, with the password {made.password}")
        self.stdout.write(as_json(made, base_url) if json else as_text(made, base_url))


def web_address(text: str) -> str:
    """Without the slash at its end, as SDKs want it. Raises CommandError when it is none."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_one = False
    if not is_one:
        raise CommandError(f"--base-url {text}: it must look like http://127.0.0.1:8000 (by default, PORT is part of it).")
    return text.rstrip("/")


@transaction.atomic
def make(name: str, *, always_new_key: bool) -> Made:
    """Raises ValidationError for a name that no instance may have."""
    instance = Instance.objects.select_related("owner").filter(name=name).first()
    password = ""
    if instance is None:
        owner, password = _administrator()
        Instance(name=name, owner=owner).full_clean()
        instance = tenancy.create_instance(owner=owner, name=name)
    if not Channel.objects.filter(instance=instance, name=CHANNEL).exists():
        tenancy.create_channel(instance, name=CHANNEL, custom_publish=True)
    account = tenancy.administrator_of(instance.owner)
    account_key = credentials.unseal(account.key_sealed)
    key_sid, key_secret = _administrator_key(account, always_new=always_new_key)
    return Made(
        instance=instance.name,
        administrator=instance.owner.get_username(),
        password=password,
        account_key=account_key,
        api_key=_api_key(instance, always_new=always_new_key),
        twilio={
            "account_sid": sids.account_sid(account.uuid),
            "auth_token": account_key,
            "service_sid": sids.service_sid(instance.uuid),
            "api_key_sid": key_sid,
            "api_key_secret": key_secret,
        },
    )


def _administrator() -> tuple[Any, str]:
    """The user, and its password if it was made just now."""
    users = get_user_model()._default_manager
    found = users.filter(username=ADMINISTRATOR).first()
    if found is not None:
        return found, ""
    password = secrets.token_urlsafe(12)
    return users.create_superuser(ADMINISTRATOR, f"{ADMINISTRATOR}@localhost", password), password


def _api_key(instance: Instance, *, always_new: bool) -> str:
    if not always_new and ApiKey.objects.filter(instance=instance, description=KEY_DESCRIPTION).exists():
        return ""
    everything = {"ignore_acl": True, "allow_user_create": True, "allow_group_create": True}
    return tenancy.create_api_key(instance, description=KEY_DESCRIPTION, **everything)[1].text


def _administrator_key(account: Administrator, *, always_new: bool) -> tuple[str, str]:
    """The SID and the secret of a further key of the account."""
    if not always_new and AdministratorKey.objects.filter(administrator=account, description=KEY_DESCRIPTION).exists():
        return "", ""
    key, secret = tenancy.create_administrator_key(account, description=KEY_DESCRIPTION)
    return sids.key_sid(key.uuid), secret.text


def as_json(made: Made, base_url: str) -> str:
    keys = {"account_key": made.account_key, "api_key": made.api_key}
    return json.dumps({"instance": made.instance, **keys, "base_url": base_url, "twilio": made.twilio})


def as_text(made: Made, base_url: str) -> str:
    channel = f"{base_url}/v1.1/instances/{made.instance}/channels/{CHANNEL}"
    key = made.api_key or made.account_key
    sid, token, service = (made.twilio[name] for name in ("account_sid", "auth_token", "service_sid"))
    password = made.password or f"shown when it was made (lost? manage.py changepassword {made.administrator})"
    twilio_key = " ".join((made.twilio["api_key_sid"], made.twilio["api_key_secret"])).strip()
    return f"""
Admin        {base_url}/admin/
             user {made.administrator}, password {password}
Instance     {made.instance}
API key      {made.api_key or "made before, and shown then; the lines below use the account key"}
Twilio       account {sid}, auth token {token}
             service {service}
             API key {twilio_key or "made before, and its secret shown then"}
API docs     {base_url}/api/docs/

Listen for the next message (in another terminal):
  curl -H 'X-API-KEY: {key}' '{channel}/poll/'
Publish one:
  curl -H 'X-API-KEY: {key}' -H 'Content-Type: application/json' -d '{{"payload": {{"text": "Hello"}}}}' '{channel}/publish/'
Read history:
  curl -H 'X-API-KEY: {key}' '{channel}/history/'

Syncano's SDKs:
  Python       SYNCANO_APIROOT={base_url}
               syncano.connect(api_key="{key}", instance_name="{made.instance}")
  JavaScript   Syncano({{ baseUrl: "{base_url}", apiKey: "{key}", defaults: {{ instanceName: "{made.instance}" }} }})

Twilio's SDKs:
  Python       client = twilio.rest.Client("{sid}", "{token}")
               client.sync.base_url = "{base_url}"
  Node         client = twilio("{sid}", "{token}")
               client.sync.baseUrl = "{base_url}"
"""
