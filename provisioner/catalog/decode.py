"""Bootenv and parameter files: documents to values, every fault at once. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provisioner.catalog.disks import COUNTS
from provisioner.catalog.words import POOL_WORDS, WORDS
from provisioner.fields import Faults, Fields
from provisioner.model.boot import EFI_FOLDERS
from provisioner.model.catalog import AnswerFile, Artifact, Bootenv, Files, Kind, Merge, Param, Report, Supports
from provisioner.yamlfile import Document

NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
"""Names of bootenvs, artefacts and answers: they stand in URLs and in paths of the artefact store (C-B2)."""
ARTIFACT_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
ARCHES = ("amd64", "arm64")
FIRMWARE = ("bios", "uefi")
LOADERS = ("", "wimboot", "memdisk", "esxi")
HTTP_SUFFIXES = (".efi", ".iso", ".img")
"""What UEFI HTTP boot starts (UEFI 2.10 section 24.7.3.1)."""
VALIDATORS = (
    "",
    "autoinstall",
    "agama",
    "autoyast",
    "cloud-config",
    "esxi",
    "ignition",
    "json",
    "kickstart",
    "preseed",
    "proxmox",
    "shellcheck",
    "talos",
    "toml",
    "unattend",
    "yaml",
)
SUPPORTS = {
    "layouts": tuple(COUNTS),
    "pool": tuple(POOL_WORDS),
    "encryption": ("passphrase", "tpm"),
    "network": ("static", "several", "bond", "vlan", "mtu", "routes", "on-link"),
    "bonds": ("802.3ad", "active-backup", "balance-xor", "balance-rr", "balance-alb"),
    "lacks": tuple(WORDS),
}

TO_BE_GIVEN = "http://to-be-given.invalid"
"""Stands for a mirror that `requires` names, while the catalogue is read: a boot without it is refused."""

_PLACEHOLDER = re.compile(r"\{([a-z0-9_.]+)\}")


def decode_param(name: str, fields: Fields) -> Param:
    """Read one parameter's declaration."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", name):
        fields.fault(None, "a parameter's name is words of a-z, 0-9 and _ with dots between")
    param = Param(
        name=name,
        about=fields.text("about", None),
        schema=fields.mapping("schema"),
        default=fields.any("default"),
        merge=fields.choice("merge", Merge, Merge.REPLACE),
        secret=fields.flag("secret"),
        source=fields.document.source,
    )
    fields.done()
    return param


def decode_bootenv(document: Document, faults: Faults, urls: Mapping[str, str]) -> Bootenv:
    """Read one bootenv. `urls` are the mirrors that `{mirror.debian}` in a URL stands for."""
    fields = Fields(document, faults)
    requires = fields.texts("requires")
    bootenv = Bootenv(
        name=fields.name("name", NAME),
        title=fields.text("title", None),
        kind=fields.choice("kind", Kind),
        family=fields.name("family", NAME),
        version=fields.text("version"),
        codename=fields.text("codename"),
        product=fields.text("product"),
        aliases=fields.texts("aliases"),
        arch={arch: _files(part, urls, requires) for arch, part in fields.parts("arch")},
        answers=tuple(_answer(answer_id, part) for answer_id, part in fields.parts("answers")),
        min_memory_bytes=fields.size("min_memory"),
        min_disk_bytes=fields.size("min_disk"),
        secure_boot=fields.flag("secure_boot") if fields.has("secure_boot") else None,
        efi_folder=_efi_folder(fields),
        tested=fields.text("tested"),
        untested=fields.text("untested"),
        params=fields.mapping("params"),
        installs_with=fields.text("installs_with"),
        job=fields.text("job"),
        reports=fields.choice("reports", Report, Report.PHONE_HOME),
        supports=_supports(fields.part("supports")),
        requires=requires,
        source=document.source,
    )
    fields.done()
    _check(bootenv, fields)
    return bootenv


def _efi_folder(fields: Fields) -> str:
    folder = fields.text("efi_folder") or "BOOT"
    if folder not in EFI_FOLDERS:
        fields.fault("efi_folder", f"{folder!r} is not known; known: {', '.join(EFI_FOLDERS)}")
    return folder


def _supports(fields: Fields) -> Supports:
    words = {key: fields.texts(key) for key in SUPPORTS}
    for key, known in SUPPORTS.items():
        for word in words[key]:
            if word not in known:
                fields.fault(key, f"{word!r} is not known; known: {', '.join(known)}")
    fields.done()
    return Supports(
        layouts=words["layouts"] or ("plain",),
        encryption=words["encryption"],
        network=words["network"],
        bonds=words["bonds"] or SUPPORTS["bonds"],
        pool=words["pool"],
        lacks=words["lacks"],
    )


def _files(fields: Fields, urls: Mapping[str, str], requires: Sequence[str]) -> Files:
    arch = str(fields.path[-1])
    if arch not in ARCHES:
        fields.fault(None, f"{arch!r} is not an architecture; known: {', '.join(ARCHES)}")
    firmware = fields.texts("firmware") or FIRMWARE
    for word in firmware:
        if word not in FIRMWARE:
            fields.fault("firmware", f"{word!r} is not known; known: {', '.join(FIRMWARE)}")
    loader = fields.text("loader")
    if loader not in LOADERS:
        fields.fault("loader", f"{loader!r} is not known; known: {', '.join(LOADERS[1:])}")
    files = Files(
        kernel=fields.text("kernel"),
        initrds=fields.texts("initrds"),
        image=fields.text("image"),
        loader=loader,
        http=fields.text("http"),
        args=fields.text("args"),
        artifacts=tuple(_artifact(name, part, urls) for name, part in fields.parts("artifacts")),
        injects=fields.texts("injects"),
        firmware=tuple(firmware),
        sources=_sources(fields, {**dict.fromkeys(requires, TO_BE_GIVEN), **urls}),
    )
    known = {artifact.name for artifact in files.artifacts}
    for key, names in (
        ("kernel", [files.kernel]),
        ("http", [files.http]),
        ("initrds", files.initrds),
        ("image", [files.image]),
    ):
        for name in names:
            if name and name not in known:
                fields.fault(key, f"{name!r} is not one of this architecture's artifacts")
    if files.http and not files.http.endswith(HTTP_SUFFIXES):
        fields.fault("http", f"{files.http!r}: UEFI HTTP boot starts files that end with {', '.join(HTTP_SUFFIXES)}")
    fields.done()
    return files


def _artifact(name: str, fields: Fields, urls: Mapping[str, str]) -> Artifact:
    if not re.fullmatch(ARTIFACT_NAME, name):
        fields.fault(None, f"an artefact's name matches {ARTIFACT_NAME}")
    artifact = Artifact(
        name=name,
        url=_url("url", fields, urls),
        sha256=fields.name("sha256", r"[0-9a-f]{64}", ""),
        size_bytes=fields.size("size") or None,
        member=fields.name("member", r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._/-]*", ""),
        convert=fields.name("convert", "qcow2", ""),
        sums_url=_url("sums", fields, urls),
        sums_signature_url=_url("signature", fields, urls),
        keyring=fields.text("keyring"),
        unverified=fields.text("unverified"),
        build=fields.name("build", r"provisionctl [a-z0-9 ._-]+", ""),
        supplied=fields.text("supplied"),
    )
    if sum(map(bool, (artifact.url, artifact.build, artifact.supplied))) != 1:
        fields.fault(None, "exactly one of url, build and supplied says where it comes from")
    if artifact.sums_signature_url and not artifact.keyring:
        fields.fault("signature", "whose? keyring names the keys that count")
    if artifact.unverified and (artifact.sha256 or artifact.sums_url or artifact.sums_signature_url):
        fields.fault("unverified", "there is a sha256, sums or signature for it")
    if artifact.convert and not name.endswith(".zst"):
        fields.fault("convert", "what comes of it is packed with zstd: the artefact's name ends with .zst")
    fields.done()
    return artifact


def _sources(fields: Fields, urls: Mapping[str, str]) -> dict[str, str]:
    part = fields.part("sources")
    sources = {str(name): part.text(str(name)) for name in fields.mapping("sources")}
    for name in sources:
        _url(name, part, urls)
    return sources


def fill_in(text: str, urls: Mapping[str, str]) -> str:
    """Put URLs in the places of `{mirror.debian}` and the like."""
    return _PLACEHOLDER.sub(lambda match: urls.get(match[1]) or "http://unknown.invalid", text)


def _url(key: str, fields: Fields, urls: Mapping[str, str]) -> str:
    text = fields.text(key)
    for name in _PLACEHOLDER.findall(text):
        if name not in urls:
            fields.fault(key, f"{{{name}}}: no parameter of this name with a default URL")
    full = fill_in(text, urls)
    if full and not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._~/%+:=,@-]*", full):
        fields.fault(key, f"{full!r} is not an http or https URL")  # C-B3: no file:, no other scheme
    return full


def _answer(answer_id: str, fields: Fields) -> AnswerFile:
    if not re.fullmatch(ARTIFACT_NAME, answer_id):
        fields.fault(None, f"an answer's id matches {ARTIFACT_NAME}")
    validator = fields.text("validator")
    if validator.partition(":")[0] not in VALIDATORS:
        fields.fault("validator", f"{validator!r} is not known; known: {', '.join(VALIDATORS[1:])}")
    answer = AnswerFile(
        id=answer_id,
        template=fields.text("template", None),
        validator=validator,
        secret=fields.flag("secret", True),
        refetch=fields.flag("refetch"),
        by_address=fields.flag("by_address"),
        content_type=fields.text("content_type", "text/plain; charset=utf-8"),
    )
    fields.done()
    return answer


def _check(bootenv: Bootenv, fields: Fields) -> None:
    """Say what a bootenv of this kind cannot do without."""
    if bootenv.kind is Kind.DISK:
        return
    if not bootenv.arch:
        fields.fault(None, "arch: missing: at least one of amd64, arm64")
    ids = {answer.id for answer in bootenv.answers}
    by_job = bootenv.kind in (Kind.IMAGE, Kind.BOOTSTRAP)
    for key, needed in (("installs_with", by_job), ("job", by_job)):
        if bool(getattr(bootenv, key)) != needed:
            fields.fault(None, f"{key}: {'missing for' if needed else 'not for'} kind {bootenv.kind}")
    if bootenv.job and bootenv.job not in ids:
        fields.fault("job", f"{bootenv.job!r} is not one of the answers")
    for arch, files in bootenv.arch.items():
        _check_files(arch, files, bootenv.kind, ids, fields)


def _check_files(arch: str, files: Files, kind: Kind, answers: set[str], fields: Fields) -> None:
    if kind is Kind.IMAGE and not files.image:
        fields.fault("arch", f"{arch}.image: missing for kind image")
    if kind not in (Kind.IMAGE, Kind.BOOTSTRAP) and not (files.kernel or (kind is Kind.LIVE and files.http)):
        fields.fault("arch", f"{arch}.kernel: missing")
    for answer_id in files.injects:
        if answer_id not in answers:
            fields.fault("arch", f"{arch}.injects: {answer_id!r} is not one of the answers")
