"""Whether what was rendered is what its installer reads: syntax, and shapes that we know. No I/O.

`catalog/lint.py` asks the systems' own validators beside these. Ours are closed: a key that the installer would not
know, and would pass over, is a fault.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from jsonschema import Draft202012Validator

from provisioner import yamlfile
from provisioner.errors import ConfigError

MAX_FAULTS = 20

Schemas = Mapping[str, Any]
"""The shapes of schemas/*.yaml, by name; `catalog/lint.py` reads them."""


def validate(validator: str, text: str, schemas: Schemas) -> list[str]:
    """Say what is wrong with a rendered file, one line each. `validator` is the bootenv's word for what it is."""
    check = CHECKS.get(validator.partition(":")[0])
    if check is None:
        return []
    return [fault for fault, _ in zip(check(text, schemas), range(MAX_FAULTS), strict=False)]


def _yaml(text: str, schemas: Schemas) -> Iterator[str]:
    try:
        yamlfile.load(text, "line")
    except ConfigError as error:
        yield from error.faults or (str(error),)


def _shaped_yaml(shape: str) -> Callable[[str, Schemas], Iterator[str]]:
    def check(text: str, schemas: Schemas) -> Iterator[str]:
        if shape in ("autoinstall", "cloud-config") and not text.startswith("#cloud-config\n"):
            yield "the first line has to be #cloud-config"
        for part in text.split("\n---\n"):
            yield from _yaml(part, schemas)
            try:
                value = yamlfile.load(part, "line").value
            except ConfigError:
                continue
            yield from _shaped(value, schemas[shape])
            if shape == "autoinstall" and isinstance(value, dict):
                inner = value.get("autoinstall", {}).get("user-data", {})
                yield from (f"user-data: {fault}" for fault in _shaped(inner, schemas["cloud-config"]))

    return check


def _shaped_json(shape: str) -> Callable[[str, Schemas], Iterator[str]]:
    def check(text: str, schemas: Schemas) -> Iterator[str]:
        try:
            yield from _shaped(json.loads(text), schemas[shape])
        except ValueError as error:
            yield f"not JSON: {error}"

    return check


def _shaped(value: Any, schema: Any) -> Iterator[str]:
    for error in Draft202012Validator(schema).iter_errors(value):
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        yield f"{where.lstrip('.') or 'document'}: {error.message[:300]}"


def _json(text: str, schemas: Schemas) -> Iterator[str]:
    try:
        json.loads(text)
    except ValueError as error:
        yield f"not JSON: {error}"


def _toml(text: str, schemas: Schemas) -> Iterator[str]:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        yield f"not TOML: {error}"


def _shaped_toml(shape: str) -> Callable[[str, Schemas], Iterator[str]]:
    def check(text: str, schemas: Schemas) -> Iterator[str]:
        try:
            yield from _shaped(tomllib.loads(text), schemas[shape])
        except tomllib.TOMLDecodeError as error:
            yield f"not TOML: {error}"

    return check


def _shaped_xml(shape: str) -> Callable[[str, Schemas], Iterator[str]]:
    def check(text: str, schemas: Schemas) -> Iterator[str]:
        try:
            root = ElementTree.fromstring(text)  # noqa: S314 - what we rendered ourselves
        except ElementTree.ParseError as error:
            yield f"not XML: {error}"
            return
        yield from _elements(root, schemas[shape], "")

    return check


def _elements(element: ElementTree.Element, known: Any, path: str) -> Iterator[str]:
    """Compare an element with a table of names: `{child: table}`, `{}` for text, `*` for any name."""
    name = element.tag.rpartition("}")[2]
    here = f"{path}/{name}"
    if name not in known and "*" not in known:
        yield f"{here}: no such element; known here: {', '.join(known)}"
        return
    inside = known.get(name, known.get("*")) or {}
    if len(element) and not inside:
        yield f"{here}: text is wanted here, not elements"
    for child in element:
        yield from _elements(child, inside, here)


_PRESEED_TYPES = ("string", "boolean", "select", "multiselect", "note", "password", "text")
_PRESEED_QUESTIONS = re.compile(
    r"debian-installer/(locale|add-kernel-opts|allow_unauthenticated)|keyboard-configuration/xkb-keymap"
    r"|netcfg/(get_hostname|get_domain|hostname|wireless_wep|choose_interface)|hw-detect/load_firmware"
    r"|mirror/(country|protocol|suite|https?/(hostname|directory|proxy))"
    r"|apt-setup/(security_host|cdrom/set-first|local[0-9]/(repository|comment|key))"
    r"|clock-setup/(utc|ntp|ntp-server)|time/zone|passwd/(make-user|root-login|root-password-crypted)"
    r"|partman-(auto|auto-lvm|auto-crypto|auto-raid|lvm|md|crypto|efi|partitioning)/[a-z_-]+"
    r"|partman/(choose_partition|confirm|confirm_nooverwrite)|base-installer/install-recommends"
    r"|tasksel/first|pkgsel/(include|upgrade)|popularity-contest/participate"
    r"|grub-installer/(only_debian|with_other_os|bootdev)|finish-install/reboot_in_progress"
    r"|preseed/(early_command|late_command)"
)


def _preseed(text: str, schemas: Schemas) -> Iterator[str]:
    """`debconf-set-selections -c` lets a question that does not exist and a type that does not exist pass."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(None, 3)
        if len(words) < 3:
            yield f"{number}: owner, question and type are wanted: {line[:60]!r}"
        elif words[2] not in _PRESEED_TYPES:
            yield f"{number}: {words[2]!r} is not a type; known: {', '.join(_PRESEED_TYPES)}"
        elif not _PRESEED_QUESTIONS.fullmatch(words[1]):
            yield f"{number}: {words[1]}: no question of this name is known"
        elif words[2] == "boolean" and words[3:] not in (["true"], ["false"]):
            yield f"{number}: {words[1]}: true or false is wanted"


_ESXI = (
    "vmaccepteula",
    "accepteula",
    "rootpw",
    "install",
    "network",
    "keyboard",
    "reboot",
    "%firstboot",
    "%pre",
    "%post",
)


def _esxi(text: str, schemas: Schemas) -> Iterator[str]:
    commands = []
    for number, line in enumerate(text.splitlines(), 1):
        word = (line.split() or [""])[0]
        if word.startswith("%"):
            commands.append(word)
        if not word or word.startswith("#") or (commands and commands[-1].startswith("%") and word[0] != "%"):
            continue
        if word not in _ESXI:
            yield f"{number}: {word}: no such command; known: {', '.join(_ESXI)}"
        commands.append(word)
    for needed in ("vmaccepteula", "rootpw", "install", "network"):
        if needed not in commands:
            yield f"{needed}: missing"


CHECKS: Mapping[str, Callable[[str, Schemas], Iterator[str]]] = {
    "agama": _shaped_json("agama"),
    "autoinstall": _shaped_yaml("autoinstall"),
    "autoyast": _shaped_xml("autoyast"),
    "cloud-config": _shaped_yaml("cloud-config"),
    "esxi": _esxi,
    "ignition": _shaped_json("ignition"),
    "json": _json,
    "preseed": _preseed,
    "proxmox": _shaped_toml("proxmox"),
    "talos": _shaped_yaml("talos"),
    "toml": _toml,
    "unattend": _shaped_xml("unattend"),
    "yaml": _yaml,
}
