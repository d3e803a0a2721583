"""Many at once on one stream or service, on the real server: one wins, the others are told so, nobody meets a 5xx."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from .deployment import Deployment, Server, Template
from .rows import count
from .sync_service import error

AT_ONCE = 16
NAMES = ("heatmap", "Heat Map")  # one that is the channel's name too, and one that is not


@pytest.fixture(scope="module")
def deployment(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return template.deploy(tmp_path_factory.mktemp("twilio-races"))


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> Iterator[Server]:
    server = deployment.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


def statuses(*calls: Callable[[], httpx.Response]) -> Counter[int]:
    """What so many calls, all at once, were answered."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = [future.result() for future in [threads.submit(call) for call in calls]]
    for answer in answers:
        assert answer.is_success or error(answer)
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("name", NAMES)
def test_of_many_who_make_a_stream_of_one_name_one_does_and_of_many_who_delete_it(service, name):
    path = f"{service.path}/Streams"
    for _ in range(3):
        made = statuses(*[lambda: service.client.post(path, data={"UniqueName": name})] * AT_ONCE)
        assert made == {201: 1, 409: AT_ONCE - 1}
        gone = statuses(*[lambda: service.client.delete(f"{path}/{name}")] * AT_ONCE)
        assert gone[204] >= 1
        assert set(gone) <= {204, 404}


@pytest.mark.parametrize("name", NAMES)
def test_making_and_deleting_together_leave_one_or_none(service, deployment, name):
    path = f"{service.path}/Streams"
    make = [lambda: service.client.post(path, data={"UniqueName": name, "Ttl": "60"})] * AT_ONCE
    delete = [lambda: service.client.delete(f"{path}/{name}")] * AT_ONCE
    update = [lambda: service.client.post(f"{path}/{name}", data={"Ttl": "5"})] * AT_ONCE
    publish = [lambda: service.publish(name, "{}")] * AT_ONCE
    mixed = [call for calls in zip(make, publish, update, delete, strict=True) for call in calls]
    assert set(statuses(*mixed)) <= {200, 201, 204, 404, 409}
    service.client.delete(f"{path}/{name}")
    assert count(deployment, "SELECT count(*) FROM channels_app_twiliostream") == 0


def test_what_is_made_in_a_service_that_goes_goes_with_it(service, deployment):
    made = service.client.post("/v1/Services").json()
    make = [lambda: service.client.post(made["links"]["streams"])] * AT_ONCE
    answers = statuses(*make, lambda: service.client.delete(made["url"]), *make)
    assert answers[204] == 1
    assert set(answers) <= {201, 204, 404}
    assert service.client.get(made["links"]["streams"]).status_code == 404
    assert count(deployment, "SELECT count(*) FROM channels_app_twiliostream") == 0
