"""Secrets from everywhere they may come from; a failed look-up denies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from provisioner.catalog.secretsource import AT_ONCE, MAX_ANSWER_BYTES, SecretSources, Vault
from provisioner.errors import NotFoundError, RenderError

STORED = {"param/root": "hunter2", "bmc/m-17": "canary", "param/empty": ""}


class Stored:
    """A store of our own secrets that counts what is read."""

    def __init__(self) -> None:
        self.secrets = dict(STORED)
        self.version = 0
        self.asked = 0

    async def get(self, name: str) -> str:
        self.asked += 1
        if name not in self.secrets:
            raise NotFoundError(f"there is no secret {name!r}")
        return self.secrets[name]

    def put(self, name: str, value: str) -> None:
        self.version += 1
        self.secrets[name] = value


async def test_our_own_store() -> None:
    assert await SecretSources(Stored()).look_up(["store:root", "store:root"]) == {"store:root": "hunter2"}


async def test_our_own_store_is_read_again_when_something_in_it_changed() -> None:
    stored = Stored()
    sources = SecretSources(stored)
    first = await sources.look_up(["store:root"])
    assert await sources.look_up(["store:root"]) is first
    assert stored.asked == 1
    stored.put("param/other", "x")
    assert await sources.look_up(["store:root"]) is first  # read again, and nothing of it differs
    assert stored.asked == 2
    stored.put("param/root", "hunter3")
    assert await sources.look_up(["store:root"]) == {"store:root": "hunter3"}
    stored.put("param/root", "")
    with pytest.raises(RenderError, match="1 secret"):
        await sources.look_up(["store:root"])


async def test_what_others_may_change_is_read_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources, wanted = SecretSources(Stored(), folder=tmp_path), ["file:root", "env:ROOT", "store:root"]
    monkeypatch.setenv("PROVISIONER_SECRET_ROOT", "one")
    (tmp_path / "root").write_text("one")
    first = await sources.look_up(wanted)
    assert await sources.look_up(wanted) is first
    (tmp_path / "root").write_text("two")
    assert await sources.look_up(wanted) == {**first, "file:root": "two"}
    monkeypatch.setenv("PROVISIONER_SECRET_ROOT", "two")
    assert await sources.look_up(wanted) == {"file:root": "two", "env:ROOT": "two", "store:root": "hunter2"}


async def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_SECRET_ROOT", "hunter2")
    monkeypatch.setenv("HOME_SECRET", "canary")
    sources = SecretSources(Stored())
    assert await sources.look_up(["env:ROOT"]) == {"env:ROOT": "hunter2"}
    with pytest.raises(RenderError, match="no PROVISIONER_SECRET_HOME_SECRET"):
        await sources.look_up(["env:HOME_SECRET"])


async def test_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/root").write_text("two\nlines\n")
    assert await SecretSources(Stored(), folder=folder).look_up(["file:sub/root"]) == {"file:sub/root": "two\nlines"}


REFUSED = {
    "a secret that is not there": ("store:nobody", "there is no secret"),
    "the password of a BMC": ("store:../bmc/m-17", "there is no secret"),
    "a secret that is empty": ("store:empty", "is empty"),
    "a scheme that does not exist": ("http://x", "not a reference"),
    "no name": ("store:", "not a reference"),
    "a file outside": ("file:../outside", "there is no such file"),
    "an absolute file": ("file:/etc/passwd", "there is no such file"),
    "a link outside": ("file:link", "there is no such file"),
    "a directory": ("file:.", "there is no such file"),
    "a name that no file can have": ("file:" + "a" * 300, "cannot be read: File name too long"),
    "a name with a NUL": ("file:a\0b", "cannot be read: embedded null"),
    "a link to itself": ("file:circle", "cannot be read: "),
    "a device": ("file:../../../dev/zero", "there is no such file"),
    "a huge file": ("file:huge", "at most 65536 are read"),
    "a file that is no text": ("file:binary", "cannot be read: not text"),
    "Vault without Vault": ("vault:a#b", "names no Vault"),
}


@pytest.mark.parametrize(("reference", "says"), REFUSED.values(), ids=REFUSED.keys())
async def test_refuses(tmp_path: Path, reference: str, says: str) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").write_text("canary")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "huge").write_text("x" * 100_000)
    (folder / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(RenderError) as caught:
        await SecretSources(Stored(), folder=folder).look_up([reference, "store:root"])
    assert says in caught.value.faults[0]
    assert "canary" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_every_one_that_is_missing_is_named() -> None:
    with pytest.raises(RenderError) as caught:
        await SecretSources(Stored()).look_up(["store:a", "env:B", "file:c"])
    assert len(caught.value.faults) == 3


SAYS = {
    "/v1/kv1/node": b'{"data": {"root": "one"}}',
    "/v1/kv2/data/node": b'{"data": {"data": {"root": "two"}, "metadata": {"version": 3}}}',
    "/v1/kv1/large": b'{"data": {"root": "' + b"x" * 3000 + b'"}}',
    "/v1/kv1/endless": b" " * (MAX_ANSWER_BYTES + 2),
    "/v1/nonsense": b"<html>",
}


async def _in_pieces(request: web.Request, body: bytes) -> web.StreamResponse:
    """Answer in two pieces, the second of which comes after the first was read."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for piece in (body[: len(body) // 2], body[len(body) // 2 :]):
        await answer.write(piece)
        for _ in range(50):
            await asyncio.sleep(0)
    return answer


@asynccontextmanager
async def vault(tmp_path: Path, most: list[int] | None = None) -> AsyncIterator[Vault]:
    """A Vault that knows one token, a KV engine of each version, and how to misbehave.

    `most` is told how many questions it had at once, at most.
    """
    most = [0] if most is None else most
    token = tmp_path / "token"
    token.write_text("s.abc\n")
    asking: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asking.append(request)
        most[0] = max(most[0], len(asking))
        try:
            return await said(request)
        finally:
            asking.pop()

    async def said(request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-Vault-Token") != "s.abc":
            return web.json_response({"errors": ["permission denied"]}, status=403)
        if request.path == "/v1/away":
            raise web.HTTPFound("http://127.0.0.1:9/")
        if request.path not in SAYS:
            return web.json_response({"errors": []}, status=404)
        return await _in_pieces(request, SAYS[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield Vault(f"http://127.0.0.1:{port}/", token)
    finally:
        await runner.cleanup()


async def test_vault(tmp_path: Path) -> None:
    async with vault(tmp_path) as server:
        sources = SecretSources(Stored(), vault=server)
        found = await sources.look_up(["vault:kv1/node#root", "vault:kv2/data/node#root"])
        assert found == {"vault:kv1/node#root": "one", "vault:kv2/data/node#root": "two"}
        found = await sources.look_up(["vault:kv1/large#root"])
        assert found == {"vault:kv1/large#root": "x" * 3000}
        for reference, says in {
            "vault:kv1/node#other": "Vault has no text 'other' there",
            "vault:kv1/node": "which key",
            "vault:nowhere#a": "Vault answers 404",
            "vault:away#a": "Vault answers 302",
            "vault:nonsense#a": "Vault does not answer",
            "vault:kv1/endless#root": "Vault answers with more than 1024 KiB",
        }.items():
            with pytest.raises(RenderError, match=says):
                await sources.look_up([reference])
        server.token_file.write_text("s.renewed")
        with pytest.raises(RenderError, match="Vault answers 403"):
            await sources.look_up(["vault:kv1/node#root"])
        unread = f"{server.token_file}, the file of Vault's token, cannot be read: "
        server.token_file.write_bytes(b"\xff")
        with pytest.raises(RenderError) as caught:
            await sources.look_up(["vault:kv1/node#root"])
        assert caught.value.faults == (f"vault:kv1/node#root: {unread}not text",)
        server.token_file.unlink()
        with pytest.raises(RenderError) as caught:
            await sources.look_up(["vault:kv1/node#root"])
        assert caught.value.faults == (f"vault:kv1/node#root: {unread}No such file or directory",)


async def test_vault_is_asked_a_bounded_number_of_things_at_once(tmp_path: Path) -> None:
    most = [0]
    async with vault(tmp_path, most) as server:
        with pytest.raises(RenderError) as caught:
            await SecretSources(Stored(), vault=server).look_up([f"vault:kv1/node#{at}" for at in range(AT_ONCE * 3)])
    assert len(caught.value.faults) == AT_ONCE * 3
    assert 1 < most[0] <= AT_ONCE
