"""What a user of the Python SDK does, as one program. Prints what it saw as a JSON object.

python session.py BASE_URL INSTANCE ACCOUNT_KEY
"""

import json
import sys
import threading
from collections.abc import Callable

import classcell  # noqa: F401  (before syncano)
import syncano
from syncano.exceptions import SyncanoRequestError
from syncano.models import Channel, Message

MESSAGES = [{"number": 1, "text": "Hello Witchers!"}, {"number": 2, "text": "żółć ☃"}]


def seen(message: Message) -> dict[str, object]:
    return {"id": message.id, "payload": message.payload}


def is_missing(name: str) -> bool:
    try:
        Channel.please.get(name=name)
    except Channel.DoesNotExist:
        return True
    return False


def refusal_of(publish: Callable[..., Message], payload: dict[str, object]) -> dict[str, object] | None:
    try:
        publish(payload)
    except SyncanoRequestError as error:
        return {"status": error.status_code, "reason": error.reason}
    return None


def main(base_url: str, instance: str, account_key: str) -> None:
    syncano.connect(host=base_url, api_key=account_key, instance_name=instance)
    created = Channel.please.create(name="witchers", type="default", custom_publish=True)
    channel = Channel.please.get(name="witchers")

    polled: list[Message | None] = []
    enough = threading.Event()

    def on_message(message: Message | None) -> bool:
        """Called in the SDK's thread, which ends when this is false."""
        polled.append(message)
        if len(polled) == len(MESSAGES):
            enough.set()
        return not enough.is_set()

    channel.poll(callback=on_message, last_id=0)
    published = [channel.publish(message) for message in MESSAGES]
    enough.wait(30)
    report = {
        "created": created.name,
        "got": {"name": channel.name, "custom_publish": channel.custom_publish},
        "published": [seen(message) for message in published],
        "polled": [seen(message) for message in polled],
        "history": [seen(message) for message in Message.please.list(channel_name="witchers")],
        "missing": is_missing("nobody"),
        "refused": refusal_of(Channel.please.get(name="eventlog").publish, MESSAGES[0]),
    }
    print(json.dumps(report))


main(*sys.argv[1:])
