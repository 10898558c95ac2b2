"""What a machine would get, rendered without making anything that opens anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.catalog.fleet import SITE, machine
from provisioner.errors import ConflictError, NotFoundError, RenderError
from provisioner.lifecycle.preview import Value
from provisioner.lifecycle.registry import Machines
from provisioner.model.machine import Machine, Run, Step
from provisioner.model.net import Mac
from tests.lifecycle.previews import previews

NODE = replace(
    machine("uefi-nvme"), name="node17", params={**SITE, "disk.layout": "lvm", "system.domain": "dc1.example"}
)


def value(values: tuple[Value, ...], name: str) -> Value:
    return next(each for each in values if each.name == name)


async def test_kernel_arguments_and_every_answer_file_in_their_order() -> None:
    found = await previews(Machines([NODE])).render("node17", "rocky-9")
    assert [file.name for file in found.files] == ["kernel-args", "kickstart", "late.sh"]
    args, kickstart, _ = found.files
    assert "http://10.77.0.117:8080/answers/TICKET/" in args.text
    assert "node17.dc1.example" in kickstart.text
    assert found.address == "10.77.0.117"


async def test_no_secret_is_looked_up_or_shown() -> None:
    found = await previews(Machines([NODE])).render("node17", "rocky-9", "kickstart")
    assert "(hidden)" in found.files[0].text
    assert "store:" not in found.files[0].text
    assert value(found.values, "users.root.password").value == "(hidden)"
    assert {each.value for each in value(found.values, "users.root.password").settings} == {"(hidden)"}


async def test_one_file_alone_and_names_that_are_near() -> None:
    ask = previews(Machines([NODE])).render
    assert [file.name for file in (await ask("node17", "ubuntu-24.04", "user-data")).files] == ["user-data"]
    with pytest.raises(NotFoundError, match="did you mean 'user-data'"):
        await ask("node17", "ubuntu-24.04", "userdata")
    with pytest.raises(NotFoundError, match=r"'nosuch'; known: kernel-args, .*user-data") as refused:
        await ask("node17", "ubuntu-24.04", "nosuch")
    assert refused.value.hint == ""  # the list is said once
    with pytest.raises(NotFoundError, match="no bootenv"):
        await ask("node17", "ubunut")


@pytest.mark.parametrize("file", ["", "user-data"])
async def test_a_bootenv_that_has_no_files_says_so(file: str) -> None:
    with pytest.raises(NotFoundError, match="local has no files for amd64: there is nothing to render"):
        await previews(Machines([NODE])).render("node17", "local", file)


async def test_an_image_is_written_by_the_discovery_system() -> None:
    found = await previews(Machines([replace(NODE, params={})])).render("node17", "debian-12")
    assert [file.name for file in found.files] == ["kernel-args", "job.sh"]
    assert "provisioner.token=TOKEN" in found.files[0].text


async def test_what_cannot_be_is_said_as_before_a_boot() -> None:
    with pytest.raises(RenderError, match="installer cannot do") as caught:
        await previews(Machines([replace(NODE, params={"disk.layout": "zfs"})])).render("node17", "rocky-9")
    assert (
        "disk.layout: zfs can be had with freebsd-14-installer, proxmox-9, ubuntu-24.04, ubuntu-26.04"
        in caught.value.hint
    )
    stranger = replace(NODE, macs=(), facts=None)
    with pytest.raises(ConflictError, match="no hardware address"):
        await previews(Machines([stranger])).render("node17", "rocky-9")


async def test_a_change_of_one_parameter_takes_effect_at_once_and_touches_nothing_else() -> None:
    machines = Machines([NODE, replace(NODE, id="other", name="node18", macs=(Mac("52:54:00:00:00:99"),), uuid="")])
    ask = previews(machines).render
    before, other = await ask("node17", "rocky-9"), await ask("node18", "rocky-9")
    machines.put(replace(NODE, params={**NODE.params, "time.zone": "Europe/Vienna"}))
    after = await ask("node17", "rocky-9")
    old, new = (found.files[1].text.splitlines() for found in (before, after))
    assert [line for line in new if line not in old] == ["timezone Europe/Vienna --utc"]
    assert len(old) == len(new)
    assert await ask("node18", "rocky-9") == other


CASES: dict[str, tuple[Machine, str, list[tuple[str, bool]]]] = {
    "the machine's own wins over the default": (NODE, "disk.layout", [("default", False), ("machine node17", True)]),
    "where nobody says anything the default does": (NODE, "time.zone", [("default", True)]),
}


@pytest.mark.parametrize(("who", "name", "expected"), CASES.values(), ids=CASES.keys())
def test_every_layer_says_what_it_says(who: Machine, name: str, expected: list[tuple[str, bool]]) -> None:
    (found,) = previews(Machines([who])).values("node17", "rocky-9", name)
    assert [(each.origin, each.wins) for each in found.settings] == expected


def test_without_a_bootenv_it_is_the_machines_own() -> None:
    ask = previews(Machines([replace(NODE, bootenv="rocky-9")])).values
    assert ask("node17") == ask("node17", "rocky-9")
    with pytest.raises(NotFoundError, match=r"did you mean 'disk\.layout'"):
        ask("node17", "", "disk.layuot")


async def test_a_boot_under_way_has_parameters_of_its_own() -> None:
    run = Run("r-1", "deploy", "rocky-9", (Step("power.off", "power", 60),), params={"time.zone": "Europe/Vienna"})
    ask = previews(Machines([replace(NODE, bootenv="debian-12", run=run)]))
    assert value(ask.values("node17"), "time.zone").settings[-1].origin == "this boot"
    assert value(ask.values("node17", "rocky-9", params={}), "time.zone").value == "Etc/UTC"
    assert value(ask.values("node17", "debian-12"), "time.zone").value == "Etc/UTC"
    assert "timezone Europe/Vienna" in (await ask.render("node17", "rocky-9", "kickstart")).files[0].text
    given = {"time.zone": "Asia/Tokyo"}
    assert "timezone Asia/Tokyo" in (await ask.render("node17", "rocky-9", "kickstart", given)).files[0].text
