"""Machines, runs and events as JSON documents of the store. Home of msgspec among the store's files. No I/O."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from provisioner.errors import StoreError

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Write a value of the model as JSON."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[T]) -> T:
    """Read what `encode` wrote; raise `StoreError` naming the field that does not fit."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(f"a {kind.__name__} in the store cannot be read: {error}") from error
