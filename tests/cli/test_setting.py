"""`--set NAME=VALUE`: what is read of it."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.cli.setting import boot_params, in_query
from provisioner.errors import ConfigError

READ: dict[str, tuple[str, Any]] = {
    "text": ("a=lvm", "lvm"),
    "text with an equals sign": ("a=b=c", "b=c"),
    "a number": ("a=8", 8),
    "a truth": ("a=true", True),
    "quoted": ("a='8'", "8"),
    "a list": ("a=[vim, tmux]", ["vim", "tmux"]),
    "a mapping": ("a={model: X, order: null}", {"model": "X", "order": None}),
    "nothing": ("a=", None),
    "null": ("a=null", None),
}


@pytest.mark.parametrize(("text", "value"), READ.values(), ids=READ.keys())
def test_a_value_is_yaml(text: str, value: Any) -> None:
    assert boot_params([text]) == {"a": value}


def test_everything_that_is_wrong_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        boot_params(["a", "=b", "c=[", "d=yes", "e=1", "e=2"])
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["'a'", "'=b'", "c", "d", "e"]


def test_a_query_has_them_as_json() -> None:
    assert in_query({}) == {}
    assert in_query({"a": ["b"]}) == {"params": '{"a": ["b"]}'}
