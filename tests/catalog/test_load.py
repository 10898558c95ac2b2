"""The catalogue as a whole: ours is sound, a site adds to it, a broken one is refused and the running one stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.catalog.context import Boot, Occasion, Stored, answer_context, subject_of
from provisioner.catalog.kernelargs import check_line
from provisioner.catalog.load import Catalog, answer_template, args_template, shipped
from provisioner.catalog.params import Layer
from provisioner.errors import CatalogError, NotFoundError, RenderError
from provisioner.model.catalog import Artifact
from provisioner.model.facts import Disk, Facts
from provisioner.model.machine import Machine, State
from provisioner.model.net import parse_mac
from tests.shipped import catalogue

MAC = parse_mac("52:54:00:77:00:01")
FACTS = Facts(firmware="bios", disks=(Disk("sda", 10**12),))
NODE17 = Machine("m1", "node17", State.READY, macs=(MAC,), facts=FACTS)
OURS = catalogue()

LIVE = """
name: NAME
title: A live system
kind: live
family: test
arch:
  amd64:
    kernel: vmlinuz
    args: host={{ machine.name }}
    artifacts: {vmlinuz: {build: provisionctl images build x}}
"""


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_yaml", ".yaml").replace("_j2", ".j2")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_ours_is_sound_and_holds_what_the_first_boot_needs() -> None:
    assert {"discovery", "local", "ubuntu-22.04"} <= set(OURS.names())
    assert OURS.bootenv("jammy").name == "ubuntu-22.04"
    assert (shipped() / "bootenvs").is_dir()


def test_an_unknown_bootenv_is_answered_with_what_is_near() -> None:
    with pytest.raises(NotFoundError, match="did you mean"):
        OURS.bootenv("ubunut-22.04")


def test_kernel_arguments_and_answers_are_rendered() -> None:
    bootenv = OURS.bootenv("ubuntu-22.04")
    boot = Boot("http://10.77.0.1:8080", MAC, "amd64", ticket="T", artifacts={"live-server.iso": Stored("ab", 1)})
    context = answer_context(Occasion(bootenv, subject_of(NODE17), boot, {}), OURS.resolve(bootenv))
    render = OURS.content.renderer.render
    args = check_line(render(args_template(bootenv.name, "amd64"), context))
    assert "ds=nocloud-net;s=http://10.77.0.1:8080/answers/T/" in args.split(" ")
    assert "url=http://10.77.0.1:8080/artifacts/ubuntu-22.04/amd64/live-server.iso" in args.split(" ")
    assert "node17" in render(answer_template(bootenv, "meta-data"), context)
    with pytest.raises(NotFoundError, match="has no answer file 'x'"):
        answer_template(bootenv, "x")


@pytest.mark.parametrize("name", ["a b", "a\nb", "a;reboot", "${x}", "{{ x }}", "a'b"])
def test_a_hostile_name_never_reaches_a_kernel_line(name: str, tmp_path: Path) -> None:
    catalog = Catalog.load([write(tmp_path, bootenvs__test_yaml=LIVE.replace("NAME", "test"))])
    bootenv = catalog.bootenv("test")
    machine = Machine("m1", name, State.READY, macs=(MAC,))
    occasion = Occasion(bootenv, subject_of(machine), Boot("http://h", MAC, "amd64"), {})
    context = answer_context(occasion, catalog.resolve(bootenv))
    with pytest.raises(RenderError, match="may not stand in a kernel argument"):
        catalog.content.renderer.render(args_template("test", "amd64"), context)


def test_a_site_adds_and_replaces_by_name(tmp_path: Path) -> None:
    site = write(
        tmp_path,
        bootenvs__local_yaml="name: local\ntitle: Our disk\nkind: disk\nfamily: local\n",
        bootenvs__own_yaml=LIVE.replace("NAME", "own"),
        bootenvs__params__own_yaml="site.rack: {about: x, schema: {type: string}, default: r1}",
    )
    catalog = Catalog.load([site])
    assert catalog.bootenv("local").title == "Our disk"
    assert "own" in catalog.names()
    assert catalog.resolve(catalog.bootenv("own")).values["site"]["rack"] == "r1"


def test_layers_are_taken_in_their_order_and_checked() -> None:
    bootenv = OURS.bootenv("discovery")
    layers = [Layer("machine", "machine a", {"kernel.args": ["b"]}), Layer("site", "site", {"kernel.args": ["a"]})]
    assert OURS.resolve(bootenv, layers).flat["kernel.args"][-2:] == ["a", "b"]


BROKEN = {
    "a YAML fault": ({"bootenvs__a_yaml": "name: [\n"}, "a.yaml:2: not YAML"),
    "a name that is not the file's": (
        {"bootenvs__a_yaml": LIVE.replace("NAME", "b")},
        "in a file that is called a.yaml",
    ),
    "a template fault": ({"templates__a.sh_j2": "{% if %}"}, "templates/a.sh.j2:1:"),
    "a template with a name of its own kind": ({"templates__A.sh_j2": ""}, "is made of names that match"),
    "kernel arguments with a fault": (
        {"bootenvs__a_yaml": LIVE.replace("NAME", "a").replace("machine.name", "machin.name")},
        "machin: no such name",
    ),
    "an answer without a template": (
        {"bootenvs__a_yaml": LIVE.replace("NAME", "a") + "answers: {x: {template: no.sh.j2}}"},
        "no template no.sh.j2",
    ),
    "an alias that is taken": (
        {"bootenvs__a_yaml": LIVE.replace("NAME", "a") + "aliases: [local]"},
        "'local' is taken by local",
    ),
    "an alias that is a path": ({"bootenvs__a_yaml": LIVE.replace("NAME", "a") + "aliases: [../x]"}, "does not match"),
    "a parameter that does not exist": (
        {"bootenvs__a_yaml": LIVE.replace("NAME", "a") + "params: {no.such: 1}"},
        "no.such: no such parameter",
    ),
    "a parameter declared twice": (
        {"bootenvs__params__a_yaml": "kernel.args: {about: x, schema: {}}"},
        "kernel.args: declared in",
    ),
    "not UTF-8": ({}, "cannot be read"),
}


@pytest.mark.parametrize(("files", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_catalogue_is_refused_whole(tmp_path: Path, files: dict[str, str], says: str) -> None:
    if not files:
        (write(tmp_path, bootenvs__x_yaml="") / "bootenvs/a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(CatalogError) as caught:
        Catalog.load([write(tmp_path, **files)])
    assert any(says in fault for fault in caught.value.faults), caught.value.faults


def test_what_installs_an_image_has_to_be_a_discovery_system(tmp_path: Path) -> None:
    text = "name: a\ntitle: A\nkind: bootstrap\nfamily: a\ninstalls_with: local\njob: j\narch: {amd64: {}}\n"
    site = write(tmp_path, bootenvs__a_yaml=text + "answers: {j: {template: j.sh.j2}}", templates__j_sh_j2="")
    (site / "templates/j_sh.j2").rename(site / "templates/j.sh.j2")
    with pytest.raises(CatalogError, match="'local' is no bootenv of kind discovery"):
        Catalog.load([site])


def test_a_reload_takes_effect_whole_or_not_at_all(tmp_path: Path) -> None:
    site = write(tmp_path, bootenvs__a_yaml=LIVE.replace("NAME", "a"))
    catalog = Catalog.load([site])
    before = catalog.content
    write(site, bootenvs__b_yaml=LIVE.replace("NAME", "b"), bootenvs__c_yaml="name: [")
    with pytest.raises(CatalogError):
        catalog.reload()
    assert catalog.content is before
    (site / "bootenvs/c.yaml").unlink()
    catalog.reload()
    assert "b" in catalog.names()
    assert "b" not in before.bootenvs, "whoever began with the old one goes on with it"


def test_a_link_out_of_the_catalogue_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root:x")
    site = write(tmp_path / "site", templates__a_sh_j2="")
    (site / "templates/b.sh.j2").symlink_to(tmp_path / "secret")
    with pytest.raises(CatalogError, match="not a regular file of this directory"):
        Catalog.load([site])


def test_a_huge_template_is_not_read(tmp_path: Path) -> None:
    site = write(tmp_path, templates__a_sh_j2="")
    (site / "templates/a.sh.j2").write_text("x" * 300_000)
    with pytest.raises(CatalogError, match="at most 262144 are read"):
        Catalog.load([site])


def vouched(group: list[Artifact]) -> bool:
    """Say whether the artefacts of one URL come without --unverified: by hash, checksums or signature."""
    by_sums = any(a.sums_url.startswith("https:") or (a.sums_url and a.keyring) for a in group)
    by_signature = any(a.sums_signature_url and a.keyring for a in group)
    by_hash = any(a.sha256 and not a.member for a in group) or all(a.sha256 for a in group)
    return by_sums or by_signature or by_hash


FETCHED = {
    f"{name}/{arch} {url}": [artifact for artifact in files.artifacts if artifact.url == url]
    for name in OURS.names()
    for arch, files in OURS.bootenv(name).arch.items()
    for url in sorted({artifact.url for artifact in files.artifacts if artifact.url})
}
UNVERIFIED = {"freebsd-14", "memtest", "memtest-bios", "windows-server-2022", "windows-server-2025"}
"""What nothing vouches for. It is fetched only where the operator says so; let nothing join them unseen."""


@pytest.mark.parametrize("group", FETCHED.values(), ids=FETCHED.keys())
def test_what_ours_fetch_can_be_believed_or_is_marked(group: list[Artifact]) -> None:
    assert vouched(group) != any(artifact.unverified for artifact in group)


def test_only_few_are_taken_on_trust() -> None:
    marked = {name for name, group in FETCHED.items() if any(artifact.unverified for artifact in group)}
    assert {name.partition("/")[0] for name in marked} == UNVERIFIED
