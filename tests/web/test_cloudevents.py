"""The envelope of CloudEvents 1.0 and the signature of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigError
from provisioner.model.intent import Event
from provisioner.web import views
from provisioner.web.cloudevents import envelope, secret_of, signature

EVENT = Event(42, 1_800_000_000.0, "machine.state", "m-17", {"from": "ready", "to": "deploying"})


def test_the_envelope_has_every_attribute_that_the_specification_requires() -> None:
    made = json.loads(envelope(EVENT, views.event_view(EVENT, "node17"), "//site/provisioner"))
    assert {name: made[name] for name in made if name != "data"} == {
        "specversion": "1.0",
        "id": "42",
        "source": "//site/provisioner",
        "type": "provisioner.machine.state",
        "subject": "node17",
        "time": "2027-01-15T08:00:00.000Z",
        "datacontenttype": "application/json",
    }
    assert made["data"]["data"] == {"from": "ready", "to": "deploying"}


def test_an_event_of_no_machine_has_no_subject() -> None:
    event = Event(1, 1.0, "rollout.done", "", {})
    assert "subject" not in json.loads(envelope(event, views.event_view(event, ""), "//s"))


def test_the_signature_is_that_of_the_specification() -> None:
    # Standard Webhooks, "Signature scheme": the example of the specification's libraries
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "here")
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@given(st.binary(min_size=16), st.text(max_size=20), st.integers(0, 2**40), st.binary())
def test_who_has_the_secret_can_check_it(secret: bytes, message: str, at: int, body: bytes) -> None:
    signed = message.encode() + b"." + str(at).encode() + b"." + body
    mac = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    assert signature(secret, message, at, body) == f"v1,{mac}"


SECRETS = {
    "too short": ("secret", "at least 16 octets"),
    "empty": ("\n", "at least 16 octets"),
    "not base64": ("whsec_%%%", "is not base64"),
}


@pytest.mark.parametrize(("text", "fault"), SECRETS.values(), ids=SECRETS.keys())
def test_secrets_that_are_none(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        secret_of(text, "webhooks.x.secret_file")
    assert secret_of("0123456789abcdef\n", "x") == b"0123456789abcdef"
