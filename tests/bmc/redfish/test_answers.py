"""What a Redfish service answers, read: any bytes are a value or a `WireError`, any failure an error with words."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.bmc.redfish.answers import (
    Reply,
    Resource,
    clean,
    failure,
    message_ids,
    number_of,
    read_body,
    read_resource,
    retry_after,
    said,
    without,
)
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcLacking,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcUnsupported,
    BmcWrongState,
    WireError,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply("/x", status, {name.replace("_", "-"): text for name, text in headers.items()}, octets)


def error_body(*ids: str, text: str = "Words.") -> dict[str, Any]:
    return {"error": {"@Message.ExtendedInfo": [{"MessageId": f"Base.1.8.{name}", "Message": text} for name in ids]}}


NUMBERS = {
    "21": 21.0,
    "-0.5": -0.5,
    "9223372036854775807": 2.0**63,
    "1e999": None,
    "NaN": None,
    f"1{'0' * 400}": None,
    "true": None,
    '"7"': None,
    "null": None,
}


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_numbers(text: str, number: float | None) -> None:
    assert number_of(json.loads(text)) == number


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    with contextlib.suppress(WireError):
        read_body(reply(200, body))
    assert isinstance(failure("w", reply(400, body)), BmcError)


@given(st.dictionaries(st.sampled_from(["a", "Members", "error", "@odata.id", "@Message.ExtendedInfo"]), JSON))
def test_any_json_has_texts_links_and_members_of_the_right_type(data: dict[str, Any]) -> None:
    resource = Resource("/x", data)
    assert isinstance(resource.text("a"), str)
    assert isinstance(resource.link("a"), str)
    assert all(isinstance(path, str) for path in (*resource.members(), *resource.texts("a"), *message_ids(data)))
    assert isinstance(failure("w", reply(500, data)), BmcError)


TOLERATED = {
    "a byte order mark": (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    "half a surrogate pair, which nothing of ours can write down": (
        rb'{"a\udc00": ["\uD83D\uDE00 \ud800"]}',
        {"a?": ["😀 ?"]},
    ),
    "what only looks like one": (rb'{"a": "\\ud800"}', {"a": r"\ud800"}),
}


@pytest.mark.parametrize(("body", "data"), TOLERATED.values(), ids=TOLERATED.keys())
def test_a_body_that_is_tolerated(body: bytes, data: dict[str, Any]) -> None:
    assert read_body(reply(200, body)) == data


@pytest.mark.parametrize("said", ["text/html\udcff", "text/\x1b[2Jhtml"])
def test_what_is_no_json_is_told_in_words_that_can_be_shown(said: str) -> None:
    with pytest.raises(WireError, match=r"not JSON \(HTTP 200, text/") as refused:
        read_body(reply(200, b"<html>", content_type=said))
    assert str(refused.value).isprintable()


def test_the_version_is_the_header_or_the_property() -> None:
    assert read_resource(reply(200, {"@odata.etag": "W/2"}, etag='"1"')).etag == '"1"'
    assert read_resource(reply(200, {"@odata.etag": "W/2"})).etag == "W/2"


FAILURES = {
    "401": (401, {}, BmcAuthError),
    "401, whatever it says": (401, error_body("InsufficientPrivilege"), BmcAuthError),
    "403": (403, {}, BmcPrivilegeError),
    "403: change your password": (403, error_body("PasswordChangeRequired"), BmcAuthError),
    "400: privilege, by its message": (400, error_body("InsufficientPrivilege"), BmcPrivilegeError),
    "400": (400, error_body("PropertyUnknown"), BmcUnsupported),
    "400: no such action": (400, error_body("ActionNotSupported"), BmcLacking),
    "400: no such parameter": (400, error_body("ActionParameterNotSupported"), BmcLacking),
    "400: another value": (400, error_body("ActionParameterValueNotInList"), BmcUnsupported),
    "404": (404, b"<html>", BmcUnsupported),
    "405": (405, b"", BmcUnsupported),
    "409": (409, {}, BmcWrongState),
    "412": (412, {}, BmcWrongState),
    "400: already on": (400, error_body("GeneralError", "ServerAlreadyPoweredOn"), BmcWrongState),
    "500": (500, b"", BmcBusy),
    "503": (503, {}, BmcBusy),
    "400: sessions are used up": (400, error_body("SessionLimitExceeded"), BmcBusy),
    "teapot": (418, {}, BmcProtocolError),
}


@pytest.mark.parametrize(("status", "body", "kind"), FAILURES.values(), ids=FAILURES.keys())
def test_failure(status: int, body: Any, kind: type[BmcError]) -> None:
    error = failure("redfish://a@b:443: GET /x", reply(status, body))
    assert type(error) is kind
    assert f"HTTP {status}" in error.message


SAID = {
    "the messages": (error_body("A", "B"), "Words.; Words."),
    "the id where there is no message": (error_body("A", text=""), "Base.1.8.A"),
    "an object where a list belongs": ({"error": {"@Message.ExtendedInfo": {"Message": "m"}}}, "m"),
    "only the outer message": ({"error": {"message": "outer"}}, "outer"),
    "at the top": ({"@Message.ExtendedInfo": [{"Message": "top"}]}, "top"),
    "nothing": ({}, ""),
    "not JSON": (b"<html>", ""),
    "control characters": ({"error": {"message": "a\x1b[31mb\nc"}}, "a [31mb c"),
}


@pytest.mark.parametrize(("body", "words"), SAID.values(), ids=SAID.keys())
def test_said(body: Any, words: str) -> None:
    assert said(reply(400, body)) == words


def test_plain_text_is_taken_and_bounded() -> None:
    assert said(reply(400, b"no\x00way", content_type="text/plain")) == "no way"
    assert len(clean("x" * 1000)) == 300


WAITS = {"": None, "7": 7.0, "-3": 0.0, "9999": 60.0, "nan": None, "Fri, 31 Dec 1999 23:59:59 GMT": None}


@pytest.mark.parametrize(("text", "seconds"), WAITS.items())
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(reply(503, {}, retry_after=text)) == seconds


SECRETS: dict[str, tuple[str, str, str]] = {
    # the password, what a service answers, what is left of it
    "in a message": (
        "hunter2", '{"@Message.ExtendedInfo": [{"Message": "hunter2 is wrong", "MessageArgs": ["hunter2"]}]}',
        '{"@Message.ExtendedInfo": [{"Message": "*** is wrong", "MessageArgs": ["***"]}]}'),
    "not in a name or path, though it is the word": (
        "admin", '{"UserName": "admin", "@odata.id": "/Accounts/admin", "Message": "admin is no good"}',
        '{"UserName": "admin", "@odata.id": "/Accounts/admin", "Message": "*** is no good"}'),
    "nor in what a message is known by": ("1", '{"MessageId": "Base.1.8.InUse"}', '{"MessageId": "Base.1.8.InUse"}'),
    "nor in a number": ("17", '{"FanRPM": 1700, "Message": "17"}', '{"FanRPM": 1700, "Message": "***"}'),
    "where a password stands": ("hunter2", '{"AdminPassword": "hunter2"}', '{"AdminPassword": "***"}'),
    "in the request that a task repeats": (
        "hunter2", r'{"Payload": {"JsonBody": "{\"Password\": \"hunter2\"}"}}',
        r'{"Payload": {"JsonBody": "{\"Password\": \"***\"}"}}'),
    "as JSON writes it": ('a"b', r'{"Message": "a\"b is wrong"}', '{"Message": "*** is wrong"}'),
    "in what is no JSON": ("hunter2", "<p>hunter2 is wrong</p>", "<p>*** is wrong</p>"),
    "nowhere": ("hunter2", '{"a":  1}', '{"a":  1}'),
}  # fmt: skip


@pytest.mark.parametrize(("password", "body", "left"), SECRETS.values(), ids=SECRETS.keys())
def test_a_password_is_taken_out_of_what_is_said(password: str, body: str, left: str) -> None:
    spelled = (password, json.dumps(password)[1:-1])
    assert without(body.encode(), spelled).decode() == left
