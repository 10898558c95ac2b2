"""Ask the rack's supervisor over its control socket; for programs without a loop, such as the command line."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from provisioner.errors import LabError
from provisioner.lab.spec import line, name_of

ANSWER_S = 30.0


def ask(path: Path, do: str, **arguments: Any) -> Any:
    """Send one request and return its answer; raise `LabError`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(path))
            connection.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline() or b'{"error": "the supervisor hung up"}')
    except (OSError, ValueError) as error:
        hint = f"`{line('up', name_of(path.parent))}`"
        raise LabError(f"the rack does not answer at {path}: {error}", hint=hint) from error
    if "error" in answer:
        raise LabError(answer["error"], hint=answer.get("hint", ""))
    return answer.get("ok")
