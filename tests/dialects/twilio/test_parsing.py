"""The pure functions that every way of publishing to a stream stands on (wire/twilio.md §4, cases 3-24)."""

import contextlib
import json
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_app.dialects.twilio.errors import TwilioError
from channels_app.dialects.twilio.parsing import FORM, form_field, message_data, parse_publish

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children) | st.dictionaries(texts, children),
    max_leaves=8,
)


def published(data: str | bytes) -> str:
    return parse_publish(b"Data=" + quote(data).encode(), FORM)


def refused(body: bytes, content_type: str = FORM) -> tuple[int, int]:
    with pytest.raises(TwilioError) as error:
        parse_publish(body, content_type)
    return error.value.status, error.value.number


def refused_data(data: str | bytes) -> tuple[int, int]:
    return refused(b"Data=" + quote(data).encode())


# Forms


@given(st.dictionaries(texts, texts))
def test_a_form_is_read_as_it_was_written(fields: dict[str, str]) -> None:
    for spelling in (quote, quote_plus):
        body = urlencode(fields, quote_via=spelling).encode()
        for name, value in fields.items():
            assert form_field(body, FORM, name) == value.encode()


@given(st.binary(), texts)
def test_any_bytes_are_a_form(body: bytes, name: str) -> None:
    assert isinstance(form_field(body, FORM, name), bytes | None)


def test_a_space_has_two_spellings() -> None:
    assert form_field(b"Data=b+c", FORM, "Data") == form_field(b"Data=b%20c", FORM, "Data") == b"b c"


def test_of_a_repeated_field_the_last_counts() -> None:
    assert form_field(b"Data=1&x=2&Data=3", FORM, "Data") == b"3"


@pytest.mark.parametrize("content_type", [FORM, f"{FORM};charset=utf-8", f" {FORM.upper()} ; charset=x"])
def test_a_form_may_name_its_charset(content_type: str) -> None:
    assert form_field(b"Data=%C3%A9", content_type, "Data") == "é".encode()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", FORM),
        (b"data={}", FORM),
        (b"x=1&y", FORM),
        (b'{"Data":{}}', "application/json"),
        (b"Data={}", "text/plain"),
        (b"Data={}", ""),
        (b"&".join([b"Data={}"] * 1_001), FORM),
    ],
)
def test_data_that_is_not_there_is_missing(body: bytes, content_type: str) -> None:
    assert refused(body, content_type) == (400, 20001)


@pytest.mark.parametrize(
    ("body", "content_type", "hint"),
    [
        (b"", FORM, ""),
        (b"data={}", FORM, ""),
        (b'{"Data":{}}', "application/json", " (a form; JSON is not read)"),
        (b'{"Data":{}}', FORM, " (a form; JSON is not read)"),
    ],
)
def test_who_sends_json_is_told_that_a_form_is_wanted(body: bytes, content_type: str, hint: str) -> None:
    with pytest.raises(TwilioError) as error:
        parse_publish(body, content_type)
    assert str(error.value) == f"Missing required parameter Data in the post body{hint}"


# Data


@given(st.dictionaries(texts, values))
def test_an_object_is_kept_as_it_is(data: dict[str, Any]) -> None:
    with contextlib.suppress(TwilioError):  # too large
        assert json.loads(published(json.dumps(data))) == data
        assert published(json.dumps(data)) == published(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


@given(st.binary())
def test_any_data_is_an_object_or_refused(data: bytes) -> None:
    with contextlib.suppress(TwilioError):
        assert isinstance(json.loads(published(data)), dict)


@pytest.mark.parametrize(
    "data",
    [
        *("", "invalid", '{"a":', "{} x", "{'a':1}", "{a:1}", "\ufeff{}", "[]", '"x"', "1", "true"),
        *('{"a":NaN}', '{"a":-Infinity}', '{"a":1e999}', '{"a":"\\ud800"}', '{"\\udfff":1}'),
        *(b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', '{"a":' + "[" * 1_900 + "]" * 1_900 + "}"),
        '{"a":' + "9" * 5_000 + "}",
    ],
)
def test_what_is_no_object_of_json_is_refused(data: str | bytes) -> None:
    assert refused_data(data) == (400, 54008)


def test_null_has_a_code_of_its_own() -> None:
    assert refused_data("null") == refused_data(" null ") == (400, 54251)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ("{}", "{}"),
        ("{\n\n}", "{}"),
        ('{"a": 1, "a": 2}', '{"a":2}'),
        ('{"a": "\\u00e9\\ud83d\\ude00"}', '{"a":"é😀"}'),
        ('{"a": "\\u0000"}', '{"a":"\\u0000"}'),
        ('{"a": 1.0, "b": 1e5}', '{"a":1.0,"b":100000.0}'),
        ('{"a": ' + "9" * 4_000 + "}", '{"a":' + "9" * 4_000 + "}"),
    ],
)
def test_data_is_kept_compact(data: str, kept: str) -> None:
    assert published(data) == kept


# Its size


def of_size(size: int, character: str = "a") -> dict[str, str]:
    """An object of so many bytes as compact UTF-8."""
    count, rest = divmod(size - len('{"d":""}'), len(character.encode()))
    return {"d": character * count + "a" * rest}


@pytest.mark.parametrize("character", ["a", "é", "中", "😀"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_bytes_are_counted_however_they_are_spelled(character: str, ascii_only: bool) -> None:
    assert len(published(json.dumps(of_size(4_096, character), ensure_ascii=ascii_only)).encode()) == 4_096
    assert refused_data(json.dumps(of_size(4_097, character), ensure_ascii=ascii_only)) == (413, 54006)


def test_spaces_between_do_not_count() -> None:
    assert published('{"a":' + " " * 6_000 + "1}") == '{"a":1}'


def test_a_refusal_names_the_limit() -> None:
    with pytest.raises(TwilioError) as error:
        message_data(of_size(4_097))
    assert str(error.value) == "Request entity too large: Data has at most 4096 bytes as compact JSON"


def test_an_operator_may_allow_more(settings: Any) -> None:
    settings.PUBSUB = {**settings.PUBSUB, "TWILIO_MAX_DATA": "5000"}
    assert len(published(json.dumps(of_size(5_000)))) == 5_000
    assert refused_data(json.dumps(of_size(5_001))) == (413, 54006)


def test_what_comes_parsed_is_held_to_the_same() -> None:
    assert message_data({"a": [1]}) == '{"a":[1]}'
    for value, code in (([], 54008), (None, 54251), ({"a": "\ud800"}, 54008), (of_size(4_097), 54006)):
        with pytest.raises(TwilioError) as error:
            message_data(value)
        assert error.value.number == code
