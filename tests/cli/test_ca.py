"""`ca`: the certificate that firmware has to trust, in the forms that it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.boot.trust import FORMATS
from provisioner.store.authority import Authority
from tests.cli.conftest import Ctl, Daemon

NOW = 1.7e9


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of a CA that was made once."""
    return Authority(tmp_path_factory.mktemp("tls"), NOW).certificate_file


def test_it_is_shown(ctl: Ctl, daemon: Daemon, certificate: Path) -> None:
    daemon.serve_ca(certificate, 8443)
    ran = ctl("ca", "show")
    words = dict(line.split(maxsplit=1) for line in ran.out.replace("tls port", "tls-port").splitlines())
    assert (ran.status, words["tls-port"], words["until"][:10]) == (0, "8443", "2033-11-11")
    row = json.loads(ctl("ca", "show", "-o", "json").out)
    assert (row["pem"], row["sha256"]) == (certificate.read_text(), words["sha256"])
    assert ctl("ca", "show", "-o", "name").out == f"{row['sha256']}\n"


def test_a_file_that_cannot_be_written_is_one_line(ctl: Ctl, daemon: Daemon, certificate: Path, tmp_path: Path) -> None:
    daemon.serve_ca(certificate, 8443)
    target = tmp_path / "none" / "ca.pem"
    ran = ctl("ca", "export", str(target))
    assert (ran.status, ran.out, ran.err) == (1, "", f"provisionctl: {target}: No such file or directory\n")


@pytest.mark.parametrize("form", FORMATS)
def test_it_is_written_as_firmware_takes_it(
    ctl: Ctl, daemon: Daemon, certificate: Path, form: str, tmp_path: Path
) -> None:
    daemon.serve_ca(certificate, 8443)
    file = tmp_path / "ca"
    ran = ctl("ca", "export", "--format", form, str(file))
    assert (ran.status, file.read_bytes()) == (0, FORMATS[form](certificate.read_text())), ran.err
    assert ran.err == f"{file.stat().st_size} octets, {form}\n"


def test_it_is_printed(ctl: Ctl, daemon: Daemon, certificate: Path) -> None:
    daemon.serve_ca(certificate, 8443)
    assert ctl("ca", "export").out == certificate.read_text()


def test_there_is_none_where_nothing_is_served_by_https(ctl: Ctl, daemon: Daemon, tmp_path: Path) -> None:
    daemon.serve_ca(tmp_path / "none", 0)
    ran = ctl("ca", "show")
    assert ran.status == 4
    assert "nothing is served by HTTPS" in ran.err
    assert "set http.tls_port" in ran.err


@pytest.mark.peer
def test_a_signature_list_is_one_to_others(ctl: Ctl, daemon: Daemon, certificate: Path, tmp_path: Path) -> None:
    """virt-firmware reads it as firmware does: one certificate, of this type."""
    daemon.serve_ca(certificate, 8443)
    file = tmp_path / "ca.esl"
    ctl("ca", "export", "--format", "esl", str(file))
    program = Path(sys.executable).with_name("virt-fw-sigdb")
    said = subprocess.run([program, "--input", file, "--print"], capture_output=True, text=True, check=True).stdout
    assert "type=guid:EfiCertX509 count=1" in said
    assert "subject CN=provisioner" in said
