"""What is told while an answer is waited for, and of what answers and is no daemon."""

from __future__ import annotations

import grp
import io
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from provisioner.bmc.table import VERBS
from provisioner.cli import client as api
from provisioner.cli.bmc import takes_s
from provisioner.cli.client import SLOW_S, Client, waited_for, who_may
from provisioner.cli.exits import Forbidden, Unreachable
from provisioner.cli.local import check_owner
from provisioner.cli.session import there
from provisioner.errors import ApiError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

WAITED_FOR = {
    "a machine's board": ("/v1/machines/node17/boot", "the BMC of node17"),
    "a name with what a terminal obeys": ("/v1/machines/a%1b/boot", "the BMC of a\\x1b"),
    "a board that is put on record": ("/v1/machines", "the BMC"),
    "anything else": ("/v1/artifacts/verify", "the daemon"),
}


@pytest.mark.parametrize(("path", "whom"), WAITED_FOR.values(), ids=WAITED_FOR.keys())
def test_waited_for(path: str, whom: str) -> None:
    assert waited_for(path) == whom


TAKES = {verb: one.limit_s for verb, one in VERBS.items()} | {"a verb that only the daemon knows": 0.0}


@pytest.mark.parametrize(("verb", "limit_s"), TAKES.items())
def test_no_verb_takes_longer_than_its_answer_is_waited_for(verb: str, limit_s: float) -> None:
    assert SLOW_S + takes_s(verb) > limit_s


def test_an_answer_that_does_not_come_is_not_the_daemons_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "SLOW_S", 0.05)
    with socket.socket(socket.AF_UNIX) as listening:  # takes the request, and says nothing
        listening.bind(str(tmp_path / "api.sock"))
        listening.listen()
        client = Client(str(tmp_path / "api.sock"))
        with pytest.raises(ApiError, match="no answer within 0 s"):
            client.send("/v1/machines/node17/bmc/firmware", io.BytesIO(b"x"), 1, {})


GROUPS = {
    "the rack's": ("root", "it is root's: use sudo"),
    "one that cannot be looked at": ("", "it is root's: use sudo"),
    "the daemon's": (
        "provisioner",
        "join its group (`sudo usermod -aG provisioner $USER`, then log in anew), or use sudo",
    ),
}


@pytest.mark.parametrize(("group", "hint"), GROUPS.values(), ids=GROUPS.keys())
def test_who_may(group: str, hint: str) -> None:
    assert who_may(group) == hint


@contextmanager
def slow(path: Path, until: threading.Event, times: int) -> Iterator[None]:
    """A daemon that answers once something has happened."""

    def serve() -> None:
        for _ in range(times):
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                assert until.wait(20)
                connection.sendall(ANSWER)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        server = threading.Thread(target=serve)
        server.start()
        yield
        server.join()


def test_who_waits_is_told_for_what_and_once(tmp_path: Path) -> None:
    told, heard = list[str](), threading.Event()

    def note(text: str) -> None:
        told.append(text)
        heard.set()

    with slow(tmp_path / "api.sock", heard, times=2):
        client = Client(str(tmp_path / "api.sock"), note, note_after_s=0.0)
        for _ in range(2):
            assert client.get("/v1/machines/node17/plan", slow=True) == {}
    assert told == ["waiting for the BMC of node17"]


def test_an_answer_that_comes_at_once_is_not_announced(tmp_path: Path) -> None:
    told, heard = list[str](), threading.Event()
    heard.set()
    with slow(tmp_path / "api.sock", heard, times=2):
        client = Client(str(tmp_path / "api.sock"), told.append, note_after_s=3600.0)
        assert client.get("/v1/machines/node17/plan", slow=True) == {}
        assert client.get("/v1/machines/node17") == {}
    assert told == []


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A daemon that says this to one request, and is gone."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            while b"{}" not in connection.recv(65536):
                pass
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join()


@contextmanager
def one_after_another(path: Path, *answers: bytes) -> Iterator[None]:
    """A daemon that says this to each request in turn."""

    def serve() -> None:
        for answer in answers:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_what_is_cut_amid_its_answer_is_asked_again_where_that_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "AGAIN_PAUSE_S", 0.0)
    client = Client(str(tmp_path / "api.sock"))
    with one_after_another(tmp_path / "api.sock", ANSWER[:-1], ANSWER, ANSWER[:-1], ANSWER, ANSWER[:-1]):
        assert client.get("/v1/machines") == {}
        assert client.post("/v1/machines/node17/boot", key="k") == {}
        with pytest.raises(ApiError, match="the daemon hung up"):
            client.post("/v1/machines/node17/boot")


def test_who_sends_a_file_is_told_what_is_waited_for(tmp_path: Path) -> None:
    told, heard = list[str](), threading.Event()

    def note(text: str) -> None:
        told.append(text)
        heard.set()

    with slow(tmp_path / "api.sock", heard, times=1):
        client = Client(str(tmp_path / "api.sock"), note, note_after_s=0.0)
        assert client.send("/v1/machines/node17/bmc/firmware", io.BytesIO(b"x"), 1, {}) == {}
    assert told == ["waiting for the BMC of node17"]


def said(path: Path, how: str) -> list[str]:
    client = Client(str(path))
    lines = client.lines("/v1/artifacts/fetch", {}) if how == "lines" else client.exchange("/v1/dhcp/import", b"{}", {})
    return [line["event"] for line in lines]


LINES = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
CUT = {
    "before the first line": b"",
    "between two lines": b'{"event": "progress"}\n',
    "amid a line": b'{"event": "progress"}\n{"eve',
}


@pytest.mark.parametrize("sent", CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("how", ["lines", "exchange"])
def test_an_answer_that_is_cut_is_no_end(how: str, sent: bytes, tmp_path: Path) -> None:
    with answering(tmp_path / "api.sock", LINES + sent), pytest.raises(ApiError, match="the daemon hung up"):
        said(tmp_path / "api.sock", how)


@pytest.mark.parametrize("how", ["lines", "exchange"])
def test_an_answer_that_is_whole(how: str, tmp_path: Path) -> None:
    with answering(tmp_path / "api.sock", LINES + b'{"event": "progress"}\n{"event": "done"}\n'):
        assert said(tmp_path / "api.sock", how) == ["progress", "done"]


def test_a_daemon_that_restarts_between_two_calls_of_a_command_is_waited_for(tmp_path: Path) -> None:
    path, restarted = tmp_path / "api.sock", threading.Event()
    always = threading.Event()
    always.set()
    with slow(path, always, 1):
        client = Client(str(path))
        assert client.get("/v1/machines") == {}
    path.unlink()

    def restart(_seconds: float) -> None:
        if not restarted.is_set():
            stack.enter_context(answering(path, ANSWER))
            restarted.set()

    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "pause", restart)
        assert client.post("/v1/machines/node17/boot", {}, key="k") == {}
    assert restarted.is_set()
    path.unlink()
    with pytest.raises(Unreachable):  # what may not be repeated is refused at once
        client.post("/v1/machines/node17/boot", {})


def test_following_begins_with_a_daemon_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        next(Client(str(tmp_path / "none.sock")).events(0))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Do as a user who may nothing, where we are root."""
    us = os.geteuid()
    if us == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(us)


def test_who_may_not_come_to_the_socket_is_told_which_group_may() -> None:
    group = next(each for each in grp.getgrall() if each.gr_gid == os.getgid() or (os.getuid() == 0 and each.gr_gid))
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, -1, group.gr_gid)
        Path(folder).chmod(0o000)
        socket_file = Path(folder) / "api.sock"
        with as_nobody():
            assert there(socket_file)
            with pytest.raises(Forbidden) as caught:
                Client(str(socket_file)).get("/v1/machines")
        Path(folder).chmod(0o700)
    assert caught.value.hint == who_may(group.gr_name)


@pytest.mark.netns
def test_root_makes_nothing_in_the_state_directory_of_another_user(tmp_path: Path) -> None:
    check_owner(tmp_path)
    check_owner(tmp_path / "none")
    os.chown(tmp_path, 1, 1)
    with pytest.raises(Forbidden, match=r"is daemon's, .*sudo -u daemon"):
        check_owner(tmp_path)
    os.chown(tmp_path, 64123, 1)
    with pytest.raises(Forbidden, match=r"sudo -u '#64123'"):
        check_owner(tmp_path)
