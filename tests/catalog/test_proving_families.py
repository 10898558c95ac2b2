"""What single families need beside the common vocabulary: given, it is rendered whole; not given, it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner import yamlfile
from provisioner.catalog import proving
from provisioner.catalog.fleet import FLEET, SITE, Sample, machine
from provisioner.catalog.lint import Linter, Verdict
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
