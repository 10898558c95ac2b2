"""SHA-512 crypt against the vectors of its specification, and against the system's own."""

from __future__ import annotations

import subprocess

import pytest

from provisioner.catalog.crypt import is_hash, salt_from, sha512_crypt

VECTORS = {
    "of the specification": (
        "Hello world!",
        "saltstring",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
}


@pytest.mark.parametrize(("password", "salt", "crypted"), VECTORS.values(), ids=VECTORS.keys())
def test_vectors(password: str, salt: str, crypted: str) -> None:
    assert sha512_crypt(password, salt) == crypted


@pytest.mark.parametrize("password", ["a", "pässwörd €", "x" * 100, 'quote\'s "and" $6$'])
def test_the_system_s_openssl_says_the_same(password: str) -> None:
    command = ["openssl", "passwd", "-6", "-salt", "./aZ09", "-stdin"]
    run = subprocess.run(command, input=password.encode(), capture_output=True, check=True)
    assert run.stdout.decode().strip() == sha512_crypt(password, "./aZ09")


@pytest.mark.parametrize("salt", ["", "a" * 17, "a$b", "ä"])
def test_a_salt_that_is_none(salt: str) -> None:
    with pytest.raises(ValueError, match="is not a salt"):
        sha512_crypt("x", salt)


def test_salts_differ_by_boot_and_by_user_and_are_repeatable() -> None:
    assert len({salt_from("boot1", "root"), salt_from("boot2", "root"), salt_from("boot1", "ann")}) == 3
    assert salt_from("boot1", "root") == salt_from("boot1", "root")
    assert len(salt_from("boot1", "root")) == 16


HASHES = {
    "$6$saltstring$svn8UoSV": True,
    "$y$j9T$abc/def$xyz": True,
    "$2b$12$abcdefghijklmnopqrstuv": True,
    "hunter2": False,
    "$$": False,
    "$6$with space$x": False,
    "!": False,
}


@pytest.mark.parametrize(("text", "is_one"), HASHES.items())
def test_hashes_are_told_from_passwords(text: str, is_one: bool) -> None:
    assert is_hash(text) is is_one
