"""Access Tokens: those of the unmodified helper library are believed, and nothing else (wire/twilio.md §6, §8)."""

import base64
import json
import time
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_app.core.directory import SigningKey
from channels_app.dialects.twilio.realtime.tokens import Grant, TokenError, verify

ACCOUNT, KEY, SERVICE = "AC" + "a" * 32, "SK" + "b" * 32, "IS" + "c" * 32
KEY_UUID = UUID("b" * 32)
SECRET = "d" * 40
HEADERS = {"cty": "twilio-fpa;v=1"}
GRANTS = {"identity": "ciri", "data_sync": {"service_sid": SERVICE}}


def find_key(uuid: UUID) -> SigningKey | None:
    return SigningKey(SECRET, account=UUID("a" * 32)) if uuid == KEY_UUID else None


def token(secret: str = SECRET, headers: dict[str, Any] = HEADERS, algorithm: str = "HS256", **changed: Any) -> str:
    claims = {"iss": KEY, "sub": ACCOUNT, "exp": int(time.time()) + 60, "jti": "x", "grants": GRANTS, **changed}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, secret, algorithm, headers=headers)


def code_of(text: object) -> int:
    with pytest.raises(TokenError) as refused:
        verify(text, find_key)
    return refused.value.code


def test_a_token_says_who_may_use_which_service_until_when() -> None:
    expires = int(time.time()) + 60
    assert verify(token(exp=expires), find_key) == Grant(KEY_UUID, SERVICE, "ciri", expires)


@pytest.mark.parametrize("text", [None, 7, "", "x", "a.b.c", "é.é.é", "." * 9, "x" * 20_000, {"token": 1}])
def test_what_is_no_token_is_20101(text: object) -> None:
    assert code_of(text) == 20101


def test_another_type_or_algorithm_is_20102() -> None:
    assert code_of(token(headers={})) == 20102
    assert code_of(token(headers={"cty": "twilio-fpa;v=2"})) == 20102
    assert code_of(token("d" * 64, algorithm="HS512")) == 20102
    unsigned = token().split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", **HEADERS}).encode()).rstrip(b"=").decode()
    assert code_of(f"{none}.{unsigned[1]}.") == 20102


@pytest.mark.parametrize("issuer", [None, "SK" + "0" * 32, "", ACCOUNT])
def test_an_unknown_key_is_20103(issuer: object) -> None:
    assert code_of(token(iss=issuer)) == 20103


@pytest.mark.parametrize("account", [None, "AC" + "0" * 32, KEY])
def test_a_key_of_another_account_is_20103(account: object) -> None:
    assert code_of(token(sub=account)) == 20103


def test_an_expired_token_is_20104_at_the_second() -> None:
    assert code_of(token(exp=int(time.time()))) == 20104
    assert code_of(token(exp=1)) == 20104
    assert code_of(token(exp=None)) == 20104


def test_a_token_that_ends_after_all_dates_is_20104() -> None:
    assert verify(token(exp=253_402_300_799), find_key)
    for never in (253_402_300_800, 10**400, str(10**400)):
        assert code_of(token(exp=never)) == 20104


def test_a_token_that_is_not_yet_valid_is_20105_but_clocks_may_differ() -> None:
    assert code_of(token(nbf=int(time.time()) + 60)) == 20105
    assert verify(token(nbf=int(time.time()) + 3, iat=int(time.time()) + 3), find_key)


@pytest.mark.parametrize(
    "grants",
    [
        None,
        [],
        {"identity": "ciri"},
        {"identity": "ciri", "data_sync": {}},
        {"identity": "ciri", "data_sync": {"service_sid": ""}},
        {"identity": "ciri", "data_sync": [SERVICE]},
        {"data_sync": {"service_sid": SERVICE}},
        {"identity": "", "data_sync": {"service_sid": SERVICE}},
        {"identity": "x" * 257, "data_sync": {"service_sid": SERVICE}},
        {"identity": "a\x00b", "data_sync": {"service_sid": SERVICE}},
        {"identity": "\ud800", "data_sync": {"service_sid": SERVICE}},
        {"identity": 7, "data_sync": {"service_sid": SERVICE}},
    ],
)
def test_grants_without_an_identity_or_a_sync_service_are_20106(grants: object) -> None:
    assert code_of(token(grants=grants)) == 20106


def test_a_signature_that_does_not_fit_is_20107() -> None:
    assert code_of(token(secret="e" * 40)) == 20107
    head, _, signature = token().split(".")
    _, body, _ = token(grants={"identity": "emhyr"}).split(".")
    assert code_of(f"{head}.{body}.{signature}") == 20107


@pytest.mark.parametrize("changed", [{"exp": "soon"}, {"exp": 1e400}, {"exp": []}, {"nbf": "x"}, {"iat": {}}])
def test_claims_of_the_wrong_type_are_refused(changed: dict[str, Any]) -> None:
    assert code_of(token(**changed)) in (20101, 20104)


@given(header=st.binary(max_size=60), body=st.binary(max_size=60), signature=st.binary(max_size=40))
def test_no_token_does_more_than_be_refused(header: bytes, body: bytes, signature: bytes) -> None:
    parts = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, body, signature))
    assert code_of(".".join(parts)) in range(20101, 20108)
