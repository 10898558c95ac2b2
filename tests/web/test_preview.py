"""Previews in the API, over its real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from provisioner.catalog.fleet import SITE, machine
from provisioner.lifecycle.registry import Machines
from provisioner.web.app import operator_app
from provisioner.web.preview import PreviewApi
from provisioner.web.server import Server
from tests.lifecycle.previews import previews, readiness
from tests.web.test_api import Session, call

NODE = replace(machine("uefi-nvme"), name="node17", params=SITE)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Session]:
    server = Server(operator_app(PreviewApi(previews(Machines([NODE])), readiness(Machines([NODE])).forecast).routes()))
    await server.listen_unix(tmp_path / "api.sock")
    connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
    async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
        yield session
    await server.close()


async def test_a_boots_files_with_what_they_are_made_of(asked: Session) -> None:
    status, body, _ = await call(asked, "GET", "/v1/machines/node17/render?bootenv=rocky-9&file=kickstart")
    assert (status, body["bootenv"], body["arch"]) == (200, "rocky-9", "amd64")
    assert [file["name"] for file in body["files"]] == ["kickstart"]
    password = next(each for each in body["params"] if each["name"] == "users.root.password")
    assert [each["wins"] for each in password["layers"]] == [True]
    assert "store:" not in str(password)


async def test_parameters_by_name(asked: Session) -> None:
    status, body, _ = await call(asked, "GET", "/v1/machines/node17/params?name=disk.layout")
    assert status == 200
    assert [each["name"] for each in body["params"]] == ["disk.layout"]
    assert body["params"][0]["layers"][0]["layer"] == "default"


@pytest.mark.parametrize(
    ("path", "holds"), [("params?name=disk.layout", "this boot"), ("plan?bootenv=rocky-9", "0 fit")]
)
async def test_parameters_of_one_boot(asked: Session, path: str, holds: str) -> None:
    given = quote('{"disk.layout": "lvm", "disk.select": {"model": "none"}}')
    status, body, _ = await call(asked, "GET", f"/v1/machines/node17/{path}&params={given}")
    assert status == 200
    assert holds in str(body)


async def test_a_boot_before_it_is_one(asked: Session) -> None:
    status, body, _ = await call(asked, "GET", "/v1/machines/node17/plan?bootenv=rocky-9")
    assert (status, body["verb"], body["arch"]) == (200, "install", "amd64")
    assert [disk["loses"] for disk in body["disks"]] == [True]
    assert {check["name"]: check["ok"] for check in body["checks"]}["bmc"] is False


REFUSED = {
    "a plan of nothing": ("plan", 400),
    "a plan of what nobody knows": ("plan?bootenv=nothing", 404),
    "no bootenv named": ("render", 400),
    "no such bootenv": ("render?bootenv=nothing", 404),
    "no such file": ("render?bootenv=rocky-9&file=nothing", 404),
    "a question that is none": ("render?bootenv=rocky-9&colour=red", 400),
    "no such parameter": ("params?name=nothing", 404),
    "parameters that are no mapping": ("params?params=[1]", 400),
    "parameters that are no JSON": ("plan?bootenv=rocky-9&params=a", 400),
    "a parameter that does not fit": ("params?params=%7B%22disk.layout%22:5%7D", 422),
}


@pytest.mark.parametrize(("path", "expected"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused(asked: Session, path: str, expected: int) -> None:
    status, _, _ = await call(asked, "GET", f"/v1/machines/node17/{path}")
    assert status == expected
