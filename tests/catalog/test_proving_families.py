"""What single families need beside the common vocabulary: given, it is rendered whole; not given, it is refused."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner import yamlfile
from provisioner.catalog import proving
from provisioner.catalog.context import MADE, Occasion, answer_context, subject_of
from provisioner.catalog.fleet import FLEET, SITE, Sample, boot, machine
from provisioner.catalog.lint import Linter, Verdict
from provisioner.catalog.load import args_template
from provisioner.catalog.params import Layer
from provisioner.errors import RefusedError, RenderError
from tests.shipped import catalogue

LINTER = Linter()


def files(bootenv: str, kind: str = "uefi-small", **params: Any) -> dict[str, str]:
    """Every file as a machine gets it, in its reader's shape. `group__name` is a parameter, None: not given."""
    given = SITE | FLEET[kind].params | {name.replace("__", "."): value for name, value in params.items()}
    layer = Layer("machine", "machine node17", {name: value for name, value in given.items() if value is not None})
    verdict, found = Verdict(), {}
    for file in proving.files(catalogue(), catalogue().bootenv(bootenv), Sample(kind, machine(kind), (layer,))):
        LINTER.check_shape(file.validator, file.name, file.text, verdict)
        found[file.name] = file.text
    assert verdict.faults == []
    return found


NEEDS = {
    "RHEL needs media of the site's own": ("rhel-9", "mirror.rhel"),
    "SLES needs media of the site's own": ("sles-15", "mirror.sles"),
    "a Talos machine needs its cluster": ("talos", "talos.endpoint"),
}


@pytest.mark.parametrize(("bootenv", "name"), NEEDS.values(), ids=NEEDS.keys())
def test_what_only_the_site_knows_has_no_default(bootenv: str, name: str) -> None:
    files(bootenv)
    with pytest.raises(RefusedError) as caught:
        files(bootenv, **{name.replace(".", "__"): None})
    assert caught.value.faults == (f"{bootenv} needs {name}",)


def test_no_default_is_an_address_that_does_not_exist() -> None:
    params = catalogue().content.params
    assert [name for name, param in params.items() if ".invalid" in str(param.default)] == []


def test_ubuntus_installer_is_told_the_names_that_it_compares_paths_of_disks_with(tmp_path: Path) -> None:
    """It reads its file again after the early commands; `path:` of a link would match no disk (subiquity's `_one`)."""
    answer = yamlfile.load(files("ubuntu-24.04", "bios-raid1-lvm")["user-data"], "user-data").value["autoinstall"]
    (tmp_path / "by-id").mkdir()
    for number, name in {"01": "sda", "02": "sdb", "012": "sdc"}.items():
        (tmp_path / name).touch()
        (tmp_path / "by-id" / f"wwn-0x50025388000000{number}").symlink_to(tmp_path / name)
    paths = [action["path"] for action in answer["storage"]["config"] if action["type"] == "disk"]
    assert paths == ["/dev/disk/by-id/wwn-0x5002538800000001", "/dev/disk/by-id/wwn-0x5002538800000002"]
    file = tmp_path / "autoinstall.yaml"
    file.write_text(
        "".join(f"path: {path}\n" for path in (*paths, f"{paths[0]}2, end")).replace("/dev/disk", str(tmp_path))
    )
    for command in answer["early-commands"][:2]:
        here = [word.replace("/dev/disk", str(tmp_path)).replace("/autoinstall.yaml", str(file)) for word in command]
        subprocess.run([word.replace("udevadm settle; ", "") for word in here], check=True)
    assert file.read_text() == (
        f"path: {tmp_path}/sda\npath: {tmp_path}/sdb\npath: {tmp_path}/by-id/wwn-0x50025388000000012, end\n"
    )


def test_zfs_on_ubuntu_is_laid_out_by_its_installer_on_the_disk_that_was_chosen() -> None:
    for name in ("ubuntu-24.04", "ubuntu-26.04"):
        answer = yamlfile.load(files(name, "uefi-zfs", disk__select={"serial": "S2"})["user-data"], "user-data").value
        match = {"path": "/dev/disk/by-id/wwn-0x5002538800000002"}
        assert answer["autoinstall"]["storage"] == {"layout": {"name": "zfs", "match": match}}


NOT_OF_A_POOL = {
    "a mirror": ("ubuntu-24.04", {"disk__layout": "zfs-mirror"}, "ubuntu-24.04 cannot do disk.layout: zfs-mirror"),
    "a system that has none": ("debian-12-installer", {}, "debian-12-installer cannot do disk.layout: zfs"),
    "swap": ("ubuntu-24.04", {"disk__swap": "1GiB"}, "ubuntu-24.04 cannot do disk.swap with disk.layout: zfs"),
    "a size": (
        "ubuntu-24.04",
        {"disk__root_size": "9GiB"},
        "ubuntu-24.04 cannot do disk.root_size with disk.layout: zfs",
    ),
    "volumes": (
        "ubuntu-24.04",
        {"disk__volumes": [{"name": "var", "mount": "/var", "size": "1GiB"}]},
        "leaves disk.volumes to its installer",
    ),
    "encryption": (
        "ubuntu-24.04",
        {"disk__encryption": "passphrase", "disk__passphrase": "store:disk"},
        "leaves disk.encryption to its installer",
    ),
}


@pytest.mark.parametrize(("bootenv", "params", "why"), NOT_OF_A_POOL.values(), ids=NOT_OF_A_POOL.keys())
def test_what_zfs_cannot_be_is_refused(bootenv: str, params: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedError) as caught:
        files(bootenv, "uefi-zfs", **params)
    assert why in f"{caught.value.message}; {'; '.join(caught.value.faults)}"


WINDOWS = {
    "a name that Windows would cut": ({"system__hostname": "rack12-row3-node17"}, "Windows takes 15 characters"),
    "a name of digits alone": ({"system__hostname": "12345"}, "Windows takes no name of digits alone"),
    "a disk of several, whose number nobody knows": (
        {"windows__disk_numbers": {"S9": 0}},
        "nvme-eui.0025388b01000001 is one of 3 disks",
    ),
}


@pytest.mark.parametrize(("params", "why"), WINDOWS.values(), ids=WINDOWS.keys())
def test_what_windows_would_make_something_else_of_is_refused(params: dict[str, Any], why: str) -> None:
    with pytest.raises(RenderError, match=why):
        files("windows-server-2025", "uefi-ports", **{"users__root__password": "store:admin"} | params)


NUMBERS = {
    "by serial number": ({"S2": 5}, 5),
    "by name": ({"/dev/disk/by-id/wwn-0x5002538800000002": 1}, 1),
    "by where it is attached": ({"/dev/disk/by-path/pci-0000:00:1f.2-ata-2.0": 2}, 2),
}


@pytest.mark.parametrize(("numbers", "number"), NUMBERS.values(), ids=NUMBERS.keys())
def test_windows_is_told_its_own_number_of_the_disk(numbers: dict[str, int], number: int) -> None:
    answer = files("windows-server-2025", "uefi-storage", windows__disk_numbers=numbers)["autounattend.xml"]
    assert re.findall(r"<DiskID>(\d+)</DiskID>", answer) == [str(number)] * 2


def test_the_only_disk_has_the_first_number_of_windows() -> None:
    assert "<DiskID>0</DiskID>" in files("windows-server-2025", windows__disk_numbers={})["autounattend.xml"]


IN_FILES = [name for name in catalogue().names() if catalogue().bootenv(name).kind in MADE]


def test_scripts_of_the_first_start_are_named_in_their_order() -> None:
    """Who runs them takes them as the shell's `*` does."""
    scripts = [f"echo number{number}" for number in range(12)]
    tried = 0
    for name in IN_FILES:
        lacks = catalogue().bootenv(name).supports.lacks
        if not {"first-boot-hooks", "late-hooks"} & set(lacks):
            firmware = {each for made in catalogue().bootenv(name).arch.values() for each in made.firmware}
            kind = "uefi-small" if "uefi" in firmware else "bios-vm"
            given = {"hooks__first_boot": scripts, "hooks__late": scripts, "users__root__password": "store:admin"}
            text = "\n".join(files(name, kind, **given).values())
            names = re.findall(r"first-boot\.d/([0-9][\w-]*)", text)
            assert names == sorted(names), name
            tried += len(names) >= 12
    assert tried > 20


@pytest.mark.parametrize("name", ["debian-12-installer", "debian-13-installer", "proxmox-8"])
def test_name_servers_for_networkd_are_asked_by_resolved(name: str) -> None:
    """systemd-networkd asks nobody itself. What fetches something comes before: /etc/resolv.conf is gone then."""
    late = files(name, "uefi-static", packages__remove=["nano"])["late.sh"]
    assert "\nDNS=10.20.0.2\nDNS=10.20.0.3\nDomains=dc1.example.org\n" in late
    assert late.index("apt-get -y -q install systemd-resolved") > max(
        late.rfind("apt-get -y -q purge"), late.rfind("wget ")
    )
    assert late.splitlines()[-1] == "ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf"


PROXIES = {"proxy__http": None, "proxy__https": "http://p.example.org:3128"}
PROXIED: dict[str, tuple[str, dict[str, Any], str, bool]] = {
    "Debian's, a mirror by https": (
        "debian-13-installer",
        {"mirror__debian": "https://m.example.org/debian"},
        "mirror/https/proxy string http://p.example.org:3128\n",
        True,
    ),
    "Debian's, a mirror by http": ("debian-13-installer", {}, "mirror/http/proxy string http", False),
    "Ubuntu's, a mirror by https": (
        "ubuntu-24.04",
        {"mirror__ubuntu": "https://m.example.org/ubuntu"},
        '\n  proxy: "http://p.example.org:3128"\n',
        True,
    ),
    "Ubuntu's, a mirror by http": ("ubuntu-24.04", {}, "\n  proxy: ", False),
}


@pytest.mark.parametrize(("name", "params", "line", "there"), PROXIED.values(), ids=PROXIED.keys())
def test_an_installer_goes_to_its_mirror_by_the_proxy_for_that(
    name: str, params: dict[str, Any], line: str, there: bool
) -> None:
    answer = files(name, **PROXIES, **params)
    assert (line in answer["preseed" if "preseed" in answer else "user-data"]) is there


TALOS: dict[str, tuple[str, dict[str, Any], str]] = {
    "arguments by UEFI": ("uefi-small", {"kernel__args": ["a=b"]}, "kernel.args: Talos takes none"),
    "consoles by UEFI": ("uefi-small", {"kernel__consoles": ["ttyS1,57600"]}, "kernel.consoles: by UEFI"),
    "arguments by UEFI for the installer": (
        "uefi-small",
        {"kernel__args": ["a=b"], "system__without": ["root-password", "kernel-args"]},
        "",
    ),
    "consoles of an image that has them": (
        "uefi-small",
        {"kernel__consoles": ["ttyS1"], "talos__install_image": "factory.example.org/x:v1"},
        "",
    ),
    "both by BIOS": ("bios-vm", {"kernel__args": ["a=b"], "kernel__consoles": ["ttyS1"]}, ""),
}


@pytest.mark.parametrize(("kind", "params", "why"), TALOS.values(), ids=TALOS.keys())
def test_talos_has_no_kernel_arguments_that_it_would_drop(kind: str, params: dict[str, Any], why: str) -> None:
    if why:
        with pytest.raises(RenderError, match=why):
            files("talos", kind, **params)
    else:
        install = yamlfile.load(files("talos", kind, **params)["config.yaml"], "x").value["machine"]["install"]
        assert install.get("extraKernelArgs", []) == (["a=b", "console=ttyS1"] if kind == "bios-vm" else [])


def arguments(name: str, base: str) -> str:
    """The kernel arguments of a machine that reaches us there."""
    one, layers = machine("uefi-small"), (Layer("global", "site", SITE),)
    bootenv = catalogue().bootenv(name)
    occasion = Occasion(bootenv, subject_of(one), replace(boot(one, bootenv), base=base), {})
    seen = answer_context(occasion, catalogue().resolve(bootenv, layers))
    return catalogue().content.renderer.render(args_template(name, "amd64"), seen)


ASKING = [
    name
    for name in catalogue().names()
    if "ip={{" in str(catalogue().content.templates.get(args_template(name, "amd64")))
]


@pytest.mark.parametrize("name", ASKING)
def test_an_installer_asks_for_an_address_of_the_family_that_leads_to_us(name: str) -> None:
    assert "ip=dhcp " in arguments(name, "http://10.77.0.1:8080") + " "
    if name.startswith("ubuntu"):
        with pytest.raises(RenderError, match="an address of IPv4 alone"):
            arguments(name, "http://[fd00::1]:8080")
    else:
        assert "ip=dhcp6 " in arguments(name, "http://[fd00::1]:8080") + " "


def test_those_that_ask_are_found() -> None:
    assert len(ASKING) == 16


def test_an_efi_program_is_given_to_uefi_alone() -> None:
    found = [catalogue().bootenv(name) for name in catalogue().names()]
    starts = {
        each.name: files.firmware for each in found for files in each.arch.values() if files.kernel.endswith(".efi")
    }
    assert starts == {"esxi-8": ("uefi",), "memtest": ("uefi",)}
    assert catalogue().bootenv("memtest-bios").arch["amd64"].firmware == ("bios",)


CONTROL_PLANE = {
    name: f"store:{name}"
    for name in (
        *("machine_ca_key", "cluster_ca_key", "aggregator_ca", "aggregator_ca_key"),
        *("etcd_ca", "etcd_ca_key", "service_account_key", "secretbox_secret"),
    )
}


def control_plane(without: str = "") -> dict[str, str]:
    secrets = {f"talos__{name}": where for name, where in CONTROL_PLANE.items() if name != without}
    return files("talos", talos__role="controlplane", **secrets)


def test_a_control_plane_of_talos_has_every_secret_of_its_cluster() -> None:
    config = yamlfile.load(control_plane()["config.yaml"], "config.yaml").value
    cluster = config["cluster"]
    assert (config["machine"]["type"], bool(config["machine"]["ca"]["key"])) == ("controlplane", True)
    assert set(cluster) >= {"ca", "aggregatorCA", "serviceAccount", "etcd", "secretboxEncryptionSecret"}
    assert all((cluster["ca"]["key"], cluster["aggregatorCA"]["key"], cluster["etcd"]["ca"]["key"]))


@pytest.mark.parametrize("name", CONTROL_PLANE)
def test_a_control_plane_of_talos_without_one_of_them_is_refused(name: str) -> None:
    with pytest.raises(RenderError, match=rf"talos.role: controlplane needs talos.{name}$"):
        control_plane(without=name)


def test_a_worker_of_talos_gets_no_key_of_its_cluster() -> None:
    secrets = {f"talos__{name}": where for name, where in CONTROL_PLANE.items()}
    config = yamlfile.load(files("talos", **secrets)["config.yaml"], "config.yaml").value
    assert (config["machine"]["ca"]["key"], config["cluster"]["ca"]["key"]) == ("", "")
    assert not {"aggregatorCA", "serviceAccount", "etcd", "secretboxEncryptionSecret"} & set(config["cluster"])
