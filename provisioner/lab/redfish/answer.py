"""What the Redfish service answers, and its error bodies (DSP0266 sections 8 and 9). No I/O."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from provisioner.errors import LabError

Body = dict[str, Any]
"""JSON as it goes over the wire; it is built here and read by nobody else of ours."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: Body | None = None
    headers: dict[str, str] = field(default_factory=dict)
    page: str = ""
    """Text that is sent in place of the body."""
    is_cut: bool = False
    """The connection breaks in the middle of the body."""
    delay_s: float = 0.0
    """How long the board takes."""


class Refusal(LabError):
    """A request ends with this status and a message of the Base registry."""

    def __init__(self, status: int, message_id: str, text: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.answer = Answer(status, error_body(message_id, text), headers or {})


def error_body(message_id: str, text: str) -> Body:
    """An error response (section 8.6)."""
    information = {
        "@odata.type": "#Message.v1_1_2.Message",
        "MessageId": f"Base.1.13.{message_id}",
        "Message": text,
        "MessageArgs": [],
        "Severity": "Critical",
        "Resolution": "None.",
    }
    code = f"Base.1.13.{message_id}"
    return {"error": {"code": code, "message": text, "@Message.ExtendedInfo": [information]}}


def etag(body: Body) -> str:
    """A strong ETag of what the body says."""
    return f'"{hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]}"'
