"""Who may come in: administrators with their password, and nobody who tries them out."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def administrator(db: None, settings) -> User:
    settings.PUBSUB = {"FAILED_LOGIN_RATE": "2/minute"}
    return User.objects.create_superuser("vesemir", password="a-good-password")


def attempt(client: Client, password: str, address: str = "192.0.2.1") -> str:
    """What the page says; "": the way is free."""
    response = client.post(LOGIN, {"username": "vesemir", "password": password}, REMOTE_ADDR=address)
    if response.status_code == 302:
        return ""
    [error] = response.context["form"].non_field_errors()
    return error


def test_the_right_password_opens_however_often(client: Client) -> None:
    assert [attempt(client, "a-good-password") for _ in range(4)] == [""] * 4


def test_after_too_many_wrong_ones_from_an_address_none_is_tried_there_and_the_page_says_so(client: Client) -> None:
    wrong = [attempt(client, f"guess {n}") for n in range(2)]
    assert all(error.startswith("Please enter the correct username") for error in wrong)
    refused = attempt(client, "a-good-password")
    assert refused.startswith("Too many wrong passwords from your address. Try again in ")
    assert attempt(client, "a-good-password", address="192.0.2.2") == ""


def test_the_api_counts_them_together_with_its_own(client: Client) -> None:
    for n in range(2):
        attempt(client, f"guess {n}")
    credentials = {"email": "vesemir@example.com", "password": "a-good-password"}
    answer = client.post("/v1.1/account/auth/", credentials, "application/json", REMOTE_ADDR="192.0.2.1")
    assert answer.status_code == 429
