"""Machines, runs and events as JSON documents of the store. Home of msgspec among the store's files. No I/O."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from provisioner.errors import StoreError

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Write a value of the model as JSON."""
    return _encoder.encode(value)


class Reader(Generic[T]):
    """Reads what `encode` wrote of one kind.

    Made where its module is imported, never in a thread: msgspec looks a dataclass through when it first meets it, and
    two threads that do so at once take the process down.
    """

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def __call__(self, data: bytes) -> T:
        """Read one; raise `StoreError` naming the field that does not fit."""
        try:
            return self._decoder.decode(data)
        except msgspec.DecodeError as error:
            raise StoreError(f"a {self._kind.__name__} in the store cannot be read: {error}") from error
