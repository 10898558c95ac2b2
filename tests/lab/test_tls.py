"""The certificate of a board: its own, and the same tomorrow."""

from __future__ import annotations

import stat
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from provisioner.lab.tls import server_context


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "bmc.pem"
    server_context(path, "node17", "10.77.1.17")
    made = path.read_bytes()
    server_context(path, "node17", "10.77.1.17")
    assert path.read_bytes() == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_names_the_board(tmp_path: Path) -> None:
    server_context(tmp_path / "bmc.pem", "node17", "10.77.1.17")
    found = x509.load_pem_x509_certificate((tmp_path / "bmc.pem").read_bytes())
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "node17-bmc"
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["10.77.1.17"]
