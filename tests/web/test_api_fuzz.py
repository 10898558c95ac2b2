"""Whatever is sent to the API, the answer is one that docs/api.md knows: never a fault of the daemon, never a hang."""

from __future__ import annotations

import contextlib
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.cli.client import UnixConnection
from tests.cli.conftest import Daemon

REFS = st.sampled_from(
    ("node17", "node18", "m-17", "nope", "..", "%2e%2e%2f", "a%00b", "%ff", "52:54:00:00:00:17", "é")
)
VERBS = st.sampled_from(
    [
        "boot",
        "release",
        "rescue",
        "cancel",
        "resume",
        "power",
        "hold",
        "let-go",
        "adopt",
        "boot-via",
        "retire",
        "unretire",
        "preflight",
        "trace",
        "why",
        "nonsense",
    ]
)
PATHS = st.one_of(
    st.sampled_from(
        ("/v1/machines", "/v1/bootenvs", "/v1/info", "/healthz", "/readyz", "/v1/nonsense", "/", "//", "*")
    ),
    REFS.map(lambda ref: f"/v1/machines/{ref}"),
    st.builds(lambda ref, verb: f"/v1/machines/{ref}/{verb}", REFS, VERBS),
)
WORDS = st.sampled_from(
    ("name", "bmc", "bootenv", "erase", "power", "reason", "driver", "host", "after", "limit", "params")
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(("node17", "debian-12", "on", "ipmi")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)
BODIES = st.one_of(st.binary(max_size=40), VALUES.map(lambda value: json.dumps(value).encode()))
QUERIES = st.lists(st.tuples(WORDS, st.text("a0-,%&=\x00é", max_size=6)), max_size=2)
HEADERS = st.dictionaries(
    st.sampled_from(("If-Match", "Idempotency-Key", "Last-Event-ID", "Range", "Content-Type", "Expect")),
    st.text('a0"*-=,;%', max_size=12),
    max_size=2,
)
METHODS = st.sampled_from(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One daemon for all examples: what they do to it is part of the test."""
    daemon = Daemon(tmp_path_factory.mktemp("fuzz") / "api.sock")
    daemon.start()
    yield daemon.path
    daemon.close()


@pytest.mark.slow
@settings(max_examples=300)
@given(METHODS, PATHS, QUERIES, BODIES, HEADERS)
def test_no_request_is_a_fault_of_ours(
    served: Path, method: str, path: str, query: list[tuple[str, str]], body: bytes, headers: dict[str, str]
) -> None:
    target = urllib.parse.quote(path, safe="/%*:") + (f"?{urllib.parse.urlencode(query)}" if query else "")
    connection = UnixConnection(served, 10)
    with contextlib.suppress(BrokenPipeError):  # refused for its head: the answer is there all the same
        connection.request(method, target, body, headers)
    response = connection.getresponse()
    raw = response.read()
    connection.close()
    assert response.status < 500, raw
    if response.status >= 400 and method != "HEAD" and response.headers.get_content_type() != "text/plain":
        problem: dict[str, Any] = json.loads(raw)
        assert problem["status"] == response.status
        assert problem["type"].startswith("urn:problem:provisioner:")
