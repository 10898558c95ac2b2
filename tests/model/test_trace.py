"""What of a machine's words is kept from those who read its trace."""

from __future__ import annotations

import pytest

from provisioner.model.trace import hidden

HIDDEN = {
    "the token of an agent": ("provisioner.token=QfJ3x-_9 BOOTIF=01", "provisioner.token=*** BOOTIF=01"),
    "a password in quotes": ("password='p/w' quiet", "password='***' quiet"),
    "an answer": (
        "inst.ks=http://192.0.2.1:8080/answers/Zx81-_Q/kickstart inst.text",
        "inst.ks=http://192.0.2.1:8080/answers/***/kickstart inst.text",
    ),
    "the folder of answers": (
        "ds=nocloud-net;s=http://192.0.2.1/answers/Zx81/ ---",
        "ds=nocloud-net;s=http://192.0.2.1/answers/***/ ---",
    ),
    "an answer without its host": ("GET /answers/Zx81", "GET /answers/***"),
    "an image": ('"https://[2001:db8::1]/media/Zx81/node17.iso"', '"https://[2001:db8::1]/media/***/node17.iso"'),
    "an installer's folder": ("mount: /media/cdrom is busy", "mount: /media/cdrom is busy"),
}


@pytest.mark.parametrize(("text", "shown"), HIDDEN.values(), ids=HIDDEN.keys())
def test_what_is_hidden_stays_so(text: str, shown: str) -> None:
    assert hidden(text) == shown
    fed = ""
    for char in text:
        fed = hidden(fed + char)
    assert fed == shown


@pytest.mark.parametrize("piece", [b"a.", b"token", b"token=", b"x=", b'=token="', b"/answers", b"://", b"://a/media"])
def test_hiding_takes_no_longer_than_what_is_printed_is_long(piece: bytes) -> None:
    """A machine prints what it likes: a look back at each word would take minutes here."""
    text = (piece * 400_000).decode()
    assert len(hidden(text)) <= len(text) + len("***")
