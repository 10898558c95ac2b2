"""Options of DHCPv6, octet by octet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.v6.options import (
    OPTIONS_LIMIT,
    Ia,
    IaAddress,
    Opt,
    Status,
    VendorClass,
    addresses_in,
    client_name,
    decode_address,
    decode_ia,
    decode_options,
    decode_status,
    encode_address,
    encode_ia,
    encode_option,
    encode_options,
    encode_texts,
    encode_vendor_class,
    every,
    first,
    link_layer_address,
    numbers,
    status,
    texts,
    user_classes,
    vendor_class,
)
from provisioner.errors import WireError
from provisioner.wire import Cursor

values = st.binary(max_size=40)
rows = st.lists(st.tuples(st.integers(0, 65535), values), max_size=8).map(tuple)
u32 = st.integers(0, 2**32 - 1)
addresses = st.builds(IaAddress, st.integers(0, 2**128 - 1), u32, u32, rows)
ADDRESS = "fd000000000000000000000000000100"

WRITTEN = {
    "an association with one address": (
        encode_ia(Ia(Opt.IA_NA, b"abcd", 1800, 2880, (encode_address(IaAddress(1, 3600, 7200)),))),
        (3, "61626364 00000708 00000b40 0005 0018 00000000000000000000000000000001 00000e10 00001c20"),
    ),
    "a temporary one has no times": (encode_ia(Ia(Opt.IA_TA, b"abcd")), (4, "61626364")),
    "a status": (status(Status.NO_ADDRESSES, "none"), (13, "0002 6e6f6e65")),
    "a vendor class": (
        (16, encode_vendor_class(VendorClass(343, (b"HTTPClient",)))),
        (16, "00000157 000a 48545450436c69656e74"),
    ),
    "boot parameters": ((60, encode_texts([b"a", b"", b"bc"])), (60, "0001 61 0000 0002 6263")),
}


@pytest.mark.parametrize(("option", "wire"), WRITTEN.values(), ids=WRITTEN.keys())
def test_written(option: tuple[int, bytes], wire: tuple[int, str]) -> None:
    assert option == (wire[0], bytes.fromhex(wire[1]))


READ: dict[str, tuple[object, object]] = {
    "architectures": (numbers(b"\0\7\0\x10"), (7, 16)),
    "no architectures": (numbers(None), ()),
    "user classes": (user_classes(b"\0\4iPXE\0\1x"), (b"iPXE", b"x")),
    "a user class without lengths, as some firmware has it": (user_classes(b"iPXE"), (b"iPXE",)),
    "no user class": (user_classes(None), ()),
    "no vendor class": (vendor_class(None), None),
    "a relay's word about Ethernet": (link_layer_address(b"\0\1RT\0\0\0\1"), b"RT\0\0\0\1"),
    "a relay's word about InfiniBand": (link_layer_address(b"\0\x20" + bytes(20)), b""),
    "a relay that says nothing": (link_layer_address(None), b""),
    "a host's name": (client_name(b"\1\5node7\4rack\0"), "node7"),
    "a host's name that is cut": (client_name(b"\1\5nod"), "nod"),
    "a host's name with odd signs": (client_name(b"\0\3a\n\xff"), "a??"),
    "a host's name of no length": (client_name(b"\0\0"), ""),
    "a pointer for a host's name": (client_name(b"\0\xc0\x0c"), ""),
    "no host's name": (client_name(None), ""),
    "no status is success": (decode_status(None), (0, "")),
    "the first of a code": (first(((1, b"a"), (1, b"b")), 1), b"a"),
    "all of a code": (every(((1, b"a"), (2, b"c"), (1, b"b")), 1), [b"a", b"b"]),
}


@pytest.mark.parametrize(("found", "meant"), READ.values(), ids=READ.keys())
def test_read(found: object, meant: object) -> None:
    assert found == meant


REFUSED: dict[str, tuple[Callable[[bytes], object], str, str]] = {
    "an association without times": (lambda data: decode_ia(3, data), "61626364 0000", "4 bytes wanted at byte 4"),
    "an address of 15 bytes": (decode_address, ADDRESS[2:], "16 bytes wanted at byte 0"),
    "an option in an address past its end": (
        decode_address,
        f"{ADDRESS} 00000000 00000000 000d 0010 0000",
        "16 bytes wanted at byte 28, 2 left",
    ),
    "half an architecture": (numbers, "000700", "3 bytes are no row"),
    "a text past its end": (texts, "0004 6950", "4 bytes wanted at byte 2, 2 left"),
    "a vendor class without a number": (vendor_class, "0001", "4 bytes wanted"),
    "a status of one byte": (decode_status, "00", "2 bytes wanted"),
}


@pytest.mark.parametrize(("read", "data", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(read: Callable[[bytes], object], data: str, words: str) -> None:
    with pytest.raises(WireError, match=words):
        read(bytes.fromhex(data))


def test_a_row_is_bounded() -> None:
    row = [(1, b"")] * OPTIONS_LIMIT
    assert len(decode_options(Cursor(encode_options(row)))) == OPTIONS_LIMIT
    with pytest.raises(WireError, match="more than 128 options"):
        decode_options(Cursor(encode_options([*row, (1, b"")])))


def test_an_option_that_is_too_long_is_not_written() -> None:
    with pytest.raises(WireError, match="65536 bytes"):
        encode_option(9, bytes(65536))


@given(rows)
def test_options_come_back(row: tuple[tuple[int, bytes], ...]) -> None:
    assert decode_options(Cursor(encode_options(row))) == row


@given(st.sampled_from([3, 4, 25]), st.binary(min_size=4, max_size=4), u32, u32, st.lists(addresses, max_size=4))
def test_associations_come_back(code: int, iaid: bytes, t1: int, t2: int, named: list[IaAddress]) -> None:
    times = (0, 0) if code == Opt.IA_TA else (t1, t2)
    ia = Ia(code, iaid, *times, tuple(encode_address(each) for each in named))
    kind, value = encode_ia(ia)
    assert (kind, decode_ia(code, value)) == (code, ia)
    assert addresses_in(decode_ia(code, value)) == named


@given(st.lists(values).map(tuple), u32)
def test_texts_come_back(row: tuple[bytes, ...], enterprise: int) -> None:
    assert texts(encode_texts(row)) == row
    assert vendor_class(encode_vendor_class(VendorClass(enterprise, row))) == VendorClass(enterprise, row)


READERS = (
    decode_address,
    numbers,
    texts,
    vendor_class,
    decode_status,
    user_classes,
    link_layer_address,
)


@given(st.binary(max_size=80))
def test_any_bytes_give_a_value_or_a_wire_error(data: bytes) -> None:
    readers: list[Callable[[bytes], object]] = [*READERS, lambda data: addresses_in(decode_ia(3, data))]
    for read in readers:
        try:
            read(data)
        except WireError:
            continue
