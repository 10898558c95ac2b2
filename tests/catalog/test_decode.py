"""Bootenv files: what a right one says, and every fault of a wrong one."""

from __future__ import annotations

import re
from inspect import getsource
from pathlib import Path

import pytest

from provisioner import yamlfile
from provisioner.catalog import decode as decoder
from provisioner.catalog.decode import decode_bootenv, decode_param
from provisioner.errors import CatalogError
from provisioner.fields import Faults, Fields
from provisioner.model.catalog import Bootenv, Kind, Merge, Report

GOOD = """
name: debian-99
title: Debian 99
kind: installer
family: debian
version: "99"
aliases: [nine]
min_memory: 512MiB
min_disk: 2GiB
answers:
  preseed: {template: debian/preseed.preseed.j2, validator: preseed, refetch: true}
arch:
  amd64:
    kernel: linux
    initrds: [initrd.gz]
    args: auto=true url={{ urls.answers.preseed }}
    artifacts:
      linux: {url: "{mirror.debian}/linux", sha256: "%s"}
      initrd.gz: {url: "{mirror.debian}/x.iso", member: boot/initrd.gz, size: 40MiB}
""" % ("ab" * 32)

URLS = {"mirror.debian": "http://deb.example/debian"}


def decode(text: str) -> tuple[Bootenv, list[str]]:
    faults = Faults(CatalogError)
    return decode_bootenv(yamlfile.load(text, "x.yaml"), faults, URLS), faults.found


def test_a_bootenv() -> None:
    bootenv, faults = decode(GOOD)
    assert faults == []
    assert (bootenv.kind, bootenv.aliases, bootenv.min_memory_bytes) == (Kind.INSTALLER, ("nine",), 512 << 20)
    assert bootenv.reports is Report.PHONE_HOME
    files = bootenv.arch["amd64"]
    assert files.firmware == ("bios", "uefi")
    linux, initrd = files.artifacts
    assert (linux.url, linux.sha256) == ("http://deb.example/debian/linux", "ab" * 32)
    assert (initrd.member, initrd.size_bytes) == ("boot/initrd.gz", 40 << 20)
    answer = bootenv.answer("preseed")
    assert answer is not None
    assert (answer.refetch, answer.secret) == (True, True)
    assert bootenv.answer("other") is None
    assert files.artifact("linux") is linux
    assert files.artifact("other") is None


SIGNED = {"signed": ("secure_boot: true", True), "unsigned": ("secure_boot: false", False), "not said": ("", None)}


@pytest.mark.parametrize(("line", "wanted"), SIGNED.values(), ids=SIGNED.keys())
def test_what_is_not_said_to_be_signed_is_not_called_unsigned(line: str, wanted: bool | None) -> None:
    bootenv, faults = decode(f"{GOOD}{line}\n")
    assert (bootenv.secure_boot, faults) == (wanted, [])


def test_a_mirror_without_a_default_stands_in_sources_where_it_is_required() -> None:
    asked = changed("    kernel: linux\n", '    kernel: linux\n    sources: {os: "{mirror.rhel}/9/BaseOS"}\n')
    bootenv, faults = decode(asked + "requires: [mirror.rhel]\n")
    assert (faults, bootenv.arch["amd64"].sources) == ([], {"os": "{mirror.rhel}/9/BaseOS"})
    _, faults = decode(asked)
    assert any("{mirror.rhel}: no parameter of this name with a default URL" in fault for fault in faults)
    _, faults = decode(GOOD.replace("{mirror.debian}/linux", "{mirror.rhel}/linux") + "requires: [mirror.rhel]\n")
    assert any("{mirror.rhel}: no parameter of this name with a default URL" in fault for fault in faults)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


WRONG = {
    "an unknown key": (GOOD + "kernal: x\n", "x.yaml:20: kernal: unknown key"),
    "an unknown key of an architecture": (
        changed("kernel: linux", "kernel: linux\n    initrd: x"),
        "arch.amd64.initrd: unknown key, did you mean 'initrds'?",
    ),
    "no title": (changed("title: Debian 99\n", ""), "title: missing"),
    "a name that is a path": (changed("debian-99", "../x"), "name: '../x' does not match"),
    "a kind that does not exist": (
        changed("kind: installer", "kind: instaler"),
        "'instaler' is not known, did you mean 'installer'?",
    ),
    "an architecture that does not exist": (changed("amd64:", "x86:"), "'x86' is not an architecture"),
    "what UEFI HTTP boot cannot start": (
        changed("kernel: linux", "kernel: linux\n    http: linux"),
        "'linux': UEFI HTTP boot starts files that end with .efi, .iso, .img",
    ),
    "an installer without a kernel": (changed("    kernel: linux\n", ""), "amd64.kernel: missing"),
    "a kernel that is no artefact": (
        changed("kernel: linux", "kernel: vmlinuz"),
        "'vmlinuz' is not one of this architecture's artifacts",
    ),
    "an initrd that is no artefact": (changed("[initrd.gz]", "[initrd]"), "'initrd' is not one of"),
    "no kernel": (changed("    kernel: linux\n", ""), "amd64.kernel: missing"),
    "no architecture": ("name: a\ntitle: A\nkind: live\nfamily: a\n", "arch: missing"),
    "a local file (OSSA-2025-001)": (
        changed('"{mirror.debian}/linux"', '"file:///etc/shadow"'),
        "is not an http or https URL",
    ),
    "a URL with credentials": (
        changed('"{mirror.debian}/linux"', '"http://u:p@h/linux"'),
        "is not an http or https URL",
    ),
    "a mirror that does not exist": (
        changed("{mirror.debian}/linux", "{mirror.debain}/linux"),
        "{mirror.debain}: no parameter of this name",
    ),
    "a signature of whoever": (
        changed("linux: {", 'linux: {signature: "{mirror.debian}/linux.sig", '),
        "linux.signature: whose? keyring names the keys that count",
    ),
    "a hash of what nothing is known of": (
        changed("linux: {", "linux: {unverified: nothing is known of it, "),
        "linux.unverified: there is a sha256, sums or signature for it",
    ),
    "a conversion that nobody knows": (changed("linux: {", "linux: {convert: vmdk, "), "does not match"),
    "a converted image whose name says something else": (
        changed("linux: {", "linux: {convert: qcow2, "),
        "the artefact's name ends with .zst",
    ),
    "a member outside its archive": (changed("boot/initrd.gz", "../../etc/x"), "does not match"),
    "an absolute member": (changed("member: boot", "member: /boot"), "does not match"),
    "no origin": (
        changed('linux: {url: "{mirror.debian}/linux", ', "linux: {"),
        "exactly one of url, build and supplied",
    ),
    "a command that is not ours": (
        changed('url: "{mirror.debian}/linux"', "build: rm -rf /"),
        "does not match provisionctl",
    ),
    "a short checksum": (changed("ab" * 32, "ab"), "does not match [0-9a-f]{64}"),
    "a validator that does not exist": (changed("validator: preseed", "validator: pressed"), "'pressed' is not known"),
    "a job in an installer": (GOOD + "job: preseed\n", "job: not for kind installer"),
    "a loader that does not exist": (
        changed("kernel: linux", "kernel: linux\n    loader: lilo"),
        "'lilo' is not known",
    ),
    "a firmware that does not exist": (
        changed("kernel: linux", "kernel: linux\n    firmware: [efi]"),
        "'efi' is not known",
    ),
    "an injected file that is no answer": (
        changed("kernel: linux", "kernel: linux\n    injects: [x]"),
        "injects: 'x' is not one of the answers",
    ),
    "an artefact's name that is a path": (changed("linux: {", "a/b: {"), "an artefact's name matches"),
    "an answer's id that is a path": (changed("preseed: {", "a/b: {"), "an answer's id matches"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG.keys())
def test_says_what_is_wrong(text: str, says: str) -> None:
    _, faults = decode(text)
    assert any(says in fault for fault in faults), faults


def test_an_image_needs_who_writes_it_and_how() -> None:
    _, faults = decode("name: a\ntitle: A\nkind: image\nfamily: a\narch: {amd64: {}}\njob: x")
    assert [fault.split(": ", 1)[1] for fault in faults] == [
        "installs_with: missing for kind image",
        "job: 'x' is not one of the answers",
        "arch: amd64.image: missing for kind image",
    ]


def test_a_local_disk_needs_nothing() -> None:
    bootenv, faults = decode("name: local\ntitle: Disk\nkind: disk\nfamily: local\n")
    assert faults == []
    assert bootenv.arch == {}


def test_a_parameter() -> None:
    faults = Faults()
    document = yamlfile.load(
        "a.b: {about: x, schema: {type: array}, default: [], merge: append}\nA b: {about: y}", "p.yaml"
    )
    fields = Fields(document, faults)
    param = decode_param("a.b", fields.part("a.b"))
    assert (param.schema, param.default, param.merge, param.secret) == ({"type": "array"}, [], Merge.APPEND, False)
    assert faults.found == []
    decode_param("A b", fields.part("A b"))
    assert "a parameter's name is words" in faults.found[0]


def test_every_key_is_explained() -> None:
    """But those of parameters, which are declared in files of their own."""
    source = getsource(decoder)
    read = re.findall(r'fields\.(?:name|texts?|flag|size|choice|mapping|parts?)\("([a-z_0-9]+)"', source)
    keys = {*read, *re.findall(r'_url\("([a-z_]+)"', source)} - {"about", "schema", "default", "merge"}
    text = (Path(decoder.__file__).parents[2] / "docs" / "bootenvs.md").read_text()
    assert len(keys) > 30
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
