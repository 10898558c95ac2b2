"""What the daemon of a rack in memory can boot: a few bootenvs, rendered as JSON of what a template would see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.catalog.context import Occasion, Stored, answer_context
from provisioner.catalog.kept import Stamp
from provisioner.catalog.params import Layer, Resolved
from provisioner.catalog.system import references
from provisioner.errors import NotFoundError
from provisioner.model.artifact import Inspected
from provisioner.model.catalog import AnswerFile, Bootenv, Files, Kind, Supports
from provisioner.model.machine import Machine
from tests.shipped import catalogue

DECLARED = catalogue().content.declarations
AMD64 = {"amd64": Files(kernel="vmlinuz", initrds=("initrd.img",))}
DISCOVERY = Bootenv("discovery", "Discovery", Kind.DISCOVERY, "discovery", AMD64)
DEBIAN = Bootenv(
    "debian-12", "Debian 12", Kind.IMAGE, "debian", AMD64, min_disk_bytes=1 << 30, installs_with="discovery", job="job",
    answers=(AnswerFile("job", "agent/image.sh.j2"),),
)  # fmt: skip
INSTALLER = Bootenv(
    "fake-installer", "Installer", Kind.INSTALLER, "debian", AMD64,
    answers=(AnswerFile("preseed", "debian/preseed"), AnswerFile("late.sh", "debian/late.sh")),
    supports=Supports(network=("static",)), efi_folder="proxmox",
)  # fmt: skip
LIVE = Bootenv("fake-live", "Live", Kind.LIVE, "memtest", AMD64)
ISO = Bootenv("fake-iso", "An ISO", Kind.LIVE, "iso", {"amd64": Files(http="image.iso")})
LOCAL = Bootenv("local", "Its disk", Kind.DISK, "local", {})
UBUNTU = Bootenv("ubuntu-22.04", "Ubuntu", Kind.INSTALLER, "ubuntu", AMD64)


class FakeCatalogue:
    """Three bootenvs; what is rendered is JSON of what a template would see."""

    def __init__(self) -> None:
        self._known = {b.name: b for b in (DISCOVERY, DEBIAN, INSTALLER, LIVE, ISO, LOCAL, UBUNTU)}

    def bootenv(self, name: str) -> Bootenv:
        if name not in self._known:
            raise NotFoundError(f"no bootenv {name!r}")
        return self._known[name]

    def names(self) -> Sequence[str]:
        return sorted(self._known)

    def params(self, bootenv: Bootenv, machine: Machine | None, boot: Mapping[str, Any]) -> Resolved:
        return DECLARED.resolve([DECLARED.checked(Layer("boot", "this boot", boot))])

    def references(self, bootenv: Bootenv, machine: Machine | None, boot: Mapping[str, Any]) -> Sequence[str]:
        return references(self.params(bootenv, machine, boot))

    def context(self, occasion: Occasion) -> dict[str, Any]:
        given = DECLARED.checked(Layer("boot", "this boot", occasion.given))
        return answer_context(occasion, DECLARED.resolve([given]))

    async def kernel_args(self, occasion: Occasion) -> str:
        context = self.context(occasion)
        ticket = context["urls"]["answers_dir"].partition("/answers/")[2].strip("/")
        return (
            f"provisioner.url={context['agent']['url']} provisioner.token={context['agent']['token']}"
            f" provisioner.ticket={ticket} quiet"
        )

    def kept_answer(self, answer: AnswerFile, machine: Machine, stamp: Stamp) -> bytes | None:
        return None

    async def answer(self, occasion: Occasion, answer_id: str, stamp: Stamp | None = None) -> bytes:
        agent = self.context(occasion)["agent"]
        return json.dumps({"job": answer_id, "home": agent["phone_home_token"], "token": agent["token"]}).encode()


class FakeArtifacts:
    """Everything is in store but Ubuntu."""

    def stored(self, bootenv: Bootenv, arch: str) -> Mapping[str, Stored]:
        return {}

    async def inspect(self, bootenv: Bootenv, arch: str) -> Sequence[Inspected]:
        held = self.stored(bootenv, arch)
        return [
            Inspected(f"{bootenv.name}/{arch}/{name}", "artefact", each.size_bytes, each.sha256, "here")
            for name, each in held.items()
        ]

    def missing(self, bootenv: Bootenv, arch: str) -> Sequence[str]:
        if bootenv is UBUNTU:
            return ["ubuntu-22.04: vmlinuz is missing: run `provisionctl artifacts fetch ubuntu-22.04`"]
        return []
