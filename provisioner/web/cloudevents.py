"""Events of the outbox as CloudEvents 1.0 (structured mode, JSON format), and their signatures. No I/O.

The signature is that of Standard Webhooks 1.0: HMAC-SHA256 over "ID.TIMESTAMP.BODY", so that whoever has the secret can
tell that a message is ours, is whole, and was not sent before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec

from provisioner.errors import ConfigError
from provisioner.model.intent import Event
from provisioner.web.views import EventView

CONTENT_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"
TYPE_PREFIX = "provisioner."
SECRET_PREFIX = "whsec_"  # noqa: S105  how Standard Webhooks marks a secret in base64
LEAST_SECRET = 16


class CloudEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The envelope (CloudEvents 1.0, section "Context attributes"). `source` and `id` together name one event."""

    id: str
    source: str
    type: str
    time: str | None
    data: EventView
    subject: str = ""
    specversion: str = msgspec.field(default="1.0")
    datacontenttype: str = "application/json"


def envelope(event: Event, shown: EventView, source: str) -> bytes:
    """Write one event."""
    kind = TYPE_PREFIX + event.type
    made = CloudEvent(str(event.seq), source, kind, shown.at, shown, shown.name or event.machine)
    fields = msgspec.structs.asdict(made)
    return msgspec.json.encode({name: value for name, value in fields.items() if value not in ("", None)})


def secret_of(text: str, where: str) -> bytes:
    """Read a secret: `whsec_` and base64, or any other text; raise `ConfigError`."""
    text = text.strip()
    if text.startswith(SECRET_PREFIX):
        try:
            secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error as error:
            raise ConfigError(f"{where}: what follows {SECRET_PREFIX} is not base64") from error
    else:
        secret = text.encode()
    if len(secret) < LEAST_SECRET:
        raise ConfigError(f"{where}: a secret has at least {LEAST_SECRET} octets", hint="`openssl rand -hex 32 > FILE`")
    return secret


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign a message: "v1," and the MAC in base64."""
    mac = hmac.new(secret, b"%s.%d.%s" % (message_id.encode(), timestamp, body), hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"
