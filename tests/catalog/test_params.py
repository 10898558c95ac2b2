"""Parameters: layers, what each declaration makes of them, and who won."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.catalog.params import HIDDEN, Declarations, Layer, Setting
from provisioner.errors import ConfigError
from provisioner.model.catalog import Merge, Param

ACCOUNT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "password": {"type": "string", "pattern": "^store:", "writeOnly": True},
    },
}
PARAMS = {
    param.name: param
    for param in (
        Param("disk.layout", "x", {"enum": ["plain", "lvm"]}, "plain"),
        Param("disk.select", "x", {"type": "object"}, {"order": "smallest"}, Merge.MERGE),
        Param(
            "packages.install", "x", {"type": "array", "items": {"type": "string"}}, ["openssh-server"], Merge.APPEND
        ),
        Param("time.zone", "x", {"type": "string"}),
        Param("users.accounts", "x", {"type": "array", "items": ACCOUNT}, [], Merge.APPEND),
        Param("users.root.password", "x", {"type": "string", "pattern": "^store:"}, secret=True),
    )
}
DECLARED = Declarations(PARAMS)


def layer(name: str, **values: Any) -> Layer:
    return DECLARED.checked(Layer(name, f"{name} x", {key.replace("__", "."): value for key, value in values.items()}))


COMBINED: dict[str, tuple[list[Layer], str, Any]] = {
    "nobody said anything": ([], "disk.layout", "plain"),
    "nobody ever said anything": ([], "time.zone", None),
    "the most specific replaces": (
        [layer("site", disk__layout="lvm"), layer("machine", disk__layout="plain")],
        "disk.layout",
        "plain",
    ),
    "mappings merge": ([layer("site", disk__select={"min": 1})], "disk.select", {"order": "smallest", "min": 1}),
    "mappings merge deeply": (
        [layer("site", disk__select={"a": {"b": 1, "c": 2}}), layer("boot", disk__select={"a": {"c": 3}})],
        "disk.select",
        {"order": "smallest", "a": {"b": 1, "c": 3}},
    ),
    "lists append, each item once": (
        [layer("site", packages__install=["vim"]), layer("machine", packages__install=["vim", "tmux"])],
        "packages.install",
        ["openssh-server", "vim", "tmux"],
    ),
    "null takes back what others said": (
        [layer("site", disk__layout="lvm"), layer("machine", disk__layout=None)],
        "disk.layout",
        "plain",
    ),
    "null where there is no default": (
        [layer("site", time__zone="UTC"), layer("role", time__zone=None)],
        "time.zone",
        None,
    ),
    "null takes back a secret": (
        [
            layer("site", users={"root": {"password": "store:root"}}),
            layer("machine", users={"root": {"password": None}}),
        ],
        "users.root",
        {"password": None},
    ),
    "null where nobody said anything": ([layer("machine", time__zone=None)], "time.zone", None),
    "null that something more specific replaces": (
        [layer("site", disk__layout=None), layer("machine", disk__layout="lvm")],
        "disk.layout",
        "lvm",
    ),
    "null takes a list back to the default": (
        [layer("site", packages__install=["vim"]), layer("machine", packages__install=None)],
        "packages.install",
        ["openssh-server"],
    ),
    "items after a list was taken back": (
        [
            layer("site", packages__install=["vim"]),
            layer("role", packages__install=None),
            layer("machine", packages__install=["tmux"]),
        ],
        "packages.install",
        ["openssh-server", "tmux"],
    ),
    "null takes back a key": (
        [
            layer("site", disk__select={"model": "X*", "order": "largest"}),
            layer("machine", disk__select={"model": None}),
        ],
        "disk.select",
        {"order": "largest"},
    ),
    "a key taken back to the default": (
        [layer("site", disk__select={"order": "largest"}), layer("machine", disk__select={"order": None})],
        "disk.select",
        {"order": "smallest"},
    ),
    "null takes back a key of a key": (
        [layer("site", disk__select={"a": {"b": 1, "c": 2}}), layer("boot", disk__select={"a": {"c": None}})],
        "disk.select",
        {"order": "smallest", "a": {"b": 1}},
    ),
    "null takes back a whole mapping": (
        [layer("site", disk__select={"model": "X*"}), layer("machine", disk__select=None)],
        "disk.select",
        {"order": "smallest"},
    ),
    "null for a key that is not there": (
        [layer("machine", disk__select={"a": {"b": None}})],
        "disk.select",
        {"order": "smallest", "a": {}},
    ),
    "nested is the same as dotted": ([layer("site", disk={"layout": "lvm"})], "disk.layout", "lvm"),
}


@pytest.mark.parametrize(("layers", "name", "value"), COMBINED.values(), ids=COMBINED.keys())
def test_layers_combine(layers: list[Layer], name: str, value: Any) -> None:
    resolved = DECLARED.resolve(layers)
    group, last = name.split(".")
    assert resolved.flat.get(name) == (None if isinstance(value, dict) and name not in PARAMS else value)
    assert resolved.values[group][last] == value


def test_nothing_that_was_given_is_changed() -> None:
    site = layer("site", disk__select={"a": {"b": 1}}, packages__install=["vim"])
    DECLARED.resolve([site, layer("machine", disk__select={"a": {"c": 1}}, packages__install=["x"])])
    assert site.values == {"disk.select": {"a": {"b": 1}}, "packages.install": ["vim"]}
    assert PARAMS["packages.install"].default == ["openssh-server"]


def test_explains_every_layer_and_who_won() -> None:
    layers = [layer("site", disk__layout="lvm", packages__install=["vim"]), layer("machine", disk__layout="plain")]
    resolved = DECLARED.resolve(layers)
    assert resolved.explain(PARAMS["disk.layout"]) == [
        Setting("default", "default", "plain", False),
        Setting("site", "site x", "lvm", False),
        Setting("machine", "machine x", "plain", True),
    ]
    assert [setting.wins for setting in resolved.explain(PARAMS["packages.install"])] == [True, True]
    assert resolved.explain(PARAMS["time.zone"]) == []


def test_an_explanation_hides_secrets() -> None:
    resolved = DECLARED.resolve([layer("site", users={"root": {"password": "store:root"}})])
    assert [setting.value for setting in resolved.explain(PARAMS["users.root.password"])] == [HIDDEN]


def explained(name: str, layers: list[Layer]) -> list[bool]:
    return [setting.wins for setting in DECLARED.resolve(layers).explain(PARAMS[name])]


WON: dict[str, tuple[str, list[Any], list[bool]]] = {
    # after the default: {"order": "smallest"}, ["openssh-server"]
    "a mapping of which nothing is left": ("disk.select", [{"order": "largest"}], [False, True]),
    "a mapping of which a key is left": (
        "disk.select",
        [{"min": 1, "order": "largest"}, {"min": 2}],
        [False, True, True],
    ),
    "a mapping that adds a key": ("disk.select", [{"min": 1}], [True, True]),
    "a mapping of mappings, one key left": (
        "disk.select",
        [{"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}],
        [True, True, True],
    ),
    "a mapping of mappings, none left": ("disk.select", [{"a": {"c": 2}}, {"a": {"c": 3}}], [True, False, True]),
    "a mapping that something else replaces": ("disk.select", [{"a": {"c": 2}}, {"a": 3}], [True, False, True]),
    "an empty mapping below another": ("disk.select", [{}, {"a": 3}], [True, False, True]),
    "lists": ("packages.install", [["vim"], ["tmux"]], [True, True, True]),
    "what null took back": ("disk.layout", ["lvm", None], [True, False, True]),
    "null that is replaced": ("disk.layout", [None, "lvm"], [False, False, True]),
    "a list that null took back": ("packages.install", [["vim"], None], [True, False, True]),
    "a key that null took back": ("disk.select", [{"a": 1}, {"a": None}], [True, False, True]),
    "a default's key that came back": ("disk.select", [{"order": "largest"}, {"order": None}], [True, False, True]),
    "a mapping of which null took back a part": ("disk.select", [{"a": 1, "b": 1}, {"a": None}], [True, True, True]),
    "an empty list below another": ("packages.install", [[], ["tmux"]], [True, False, True]),
}


@pytest.mark.parametrize(("name", "values", "wins"), WON.values(), ids=WON.keys())
def test_a_layer_wins_of_which_something_is_left(name: str, values: list[Any], wins: list[bool]) -> None:
    layers = [layer(at, **{name: value}) for at, value in zip(("site", "machine"), values, strict=False)]
    assert explained(name, layers) == wins


SHOWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a secret": ({"users.root.password": "x"}, {"users.root.password": HIDDEN}),
    "a secret, nested": ({"users": {"root": {"password": "x"}}}, {"users": {"root": {"password": HIDDEN}}}),
    "a secret of the wrong kind": ({"users.root.password": ["x"]}, {"users.root.password": HIDDEN}),
    "no secret": ({"disk.select": {"password": "x"}}, {"disk.select": {"password": "x"}}),
    "within a list": (
        {"users.accounts": [{"name": "a", "password": "x"}]}, {"users.accounts": [{"name": "a", "password": HIDDEN}]}),
    "under a key that is wrong": (
        {"users.accounts": [{"name": "a", "pasword": "x"}]}, {"users.accounts": [{"name": "a", "pasword": HIDDEN}]}),
    "where a mapping is wanted": ({"users.accounts": ["a:x"]}, {"users.accounts": [HIDDEN]}),
    "where a list is wanted": ({"users.accounts": "a:x"}, {"users.accounts": HIDDEN}),
    "under a name that does not exist": ({"users.pasword": "x"}, {"users.pasword": HIDDEN}),
    "nothing": ({"users.root.password": None}, {"users.root.password": None}),
}  # fmt: skip


@pytest.mark.parametrize(("values", "shown"), SHOWN.values(), ids=SHOWN.keys())
def test_values_are_shown_without_secrets(values: dict[str, Any], shown: dict[str, Any]) -> None:
    assert DECLARED.shown(values) == shown


NEVER_TOLD = {
    "an account's password": ([{"name": "a", "password": "hunter2"}], "users.accounts[0].password: wrong value"),
    "an account that is text": (["a:hunter2"], "users.accounts[0]: wrong value of a secret"),
    "accounts that are text": ("a:hunter2", "users.accounts: wrong value of a secret"),
    "an account without a name": ([{"password": "store:hunter2"}], "users.accounts[0]: 'name' is a required property"),
    "a password under another key": ([{"name": "a", "pass": "hunter2"}], "users.accounts[0]: Additional properties"),
    "an account's name": ([{"name": "a" * 9, "password": "store:hunter2"}], "[0].name: 'aaaaaaaaa' is too long"),
}


@pytest.mark.parametrize(("accounts", "fault"), NEVER_TOLD.values(), ids=NEVER_TOLD.keys())
def test_a_fault_tells_no_secret(accounts: Any, fault: str) -> None:
    _, faults = DECLARED.flatten({"users.accounts": accounts})
    assert len(faults) == 1
    assert fault in faults[0]
    assert "hunter2" not in faults[0]


def test_a_secret_that_was_taken_back_is_none() -> None:
    layers = [layer("site", users={"root": {"password": "store:root"}}), layer("boot", users__root__password=None)]
    assert DECLARED.resolve(layers[:1]).secrets == {"users.root.password": "store:root"}
    assert DECLARED.resolve(layers).secrets == {}
    assert DECLARED.resolve(layers[1:], DECLARED.resolve(layers[:1])).secrets == {}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a name that does not exist": (
        {"disk.layuot": "lvm"},
        "disk.layuot: no such parameter, did you mean 'disk.layout'?",
    ),
    "a nested name that does not exist": ({"disk": {"size": 1}}, "disk.size: no such parameter"),
    "a value of the wrong type": ({"packages.install": [1]}, "packages.install[0]: 1 is not of type 'string'"),
    "a value that is not among those known": ({"disk.layout": "zfs"}, "disk.layout: 'zfs' is not one of"),
    "nested and dotted at once": ({"disk.layout": "lvm", "disk": {"layout": "lvm"}}, "disk.layout: given twice"),
    "null in a list": ({"packages.install": [None]}, "packages.install[0]: None is not of type 'string'"),
    "null in what does not merge": (
        {"users.accounts": [{"name": None}]},
        "users.accounts[0].name: None is not of type 'string'",
    ),
    "null for a group": ({"disk": None}, "disk: no such parameter"),
    "a group that is no mapping": ({"disk": "lvm"}, "disk: no such parameter"),
    "a secret in plain text is not repeated": (
        {"users.root.password": "hunter2"},
        "users.root.password: wrong value of a secret",
    ),
}


@pytest.mark.parametrize(("values", "says"), WRONG.values(), ids=WRONG.keys())
def test_says_what_is_wrong(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DECLARED.checked(Layer("machine", "machine node17", values))
    assert len(caught.value.faults) == 1
    assert says in caught.value.faults[0]
    assert "hunter2" not in str(caught.value)
    assert "machine node17" in str(caught.value)


def test_declarations_are_checked_too() -> None:
    declared = Declarations(
        {
            "a": Param("a", "x", {}, source="p.yaml"),
            "a.b": Param("a.b", "x", {"type": "nonsense"}, source="p.yaml"),
            "c": Param("c", "x", {"type": "string"}, 5, source="p.yaml"),
        }
    )
    faults = list(declared.faults())
    assert "p.yaml: a: other parameters' names begin with it" in faults[0]
    assert "p.yaml: a.b: schema:" in faults[1]
    assert "p.yaml: c: 5 is not of type 'string'" in faults[2]


def test_a_schema_that_is_wrong_is_told_once_and_nothing_is_checked_by_it() -> None:
    declared = Declarations({"a.b": Param("a.b", "x", {"$ref": "#"}, "x", source="p.yaml")})
    assert [fault.partition(": no keyword")[0] for fault in declared.faults()] == ["p.yaml: a.b: schema: $ref"]
    assert declared.flatten({"a.b": 5}) == ({"a.b": 5}, [])


@pytest.mark.unmeasured
def test_a_layer_that_takes_too_long_to_check_is_refused() -> None:
    slow = Param("a.slow", "x", {"items": {"allOf": [{"minimum": 0}] * 300}}, source="p.yaml")
    declared = Declarations({"a.slow": slow, "a.word": Param("a.word", "x", {"pattern": "^(a+)+$"})})
    assert declared.flatten({"a.slow": [1, 2], "a.word": "a" * 1000}) == ({"a.slow": [1, 2], "a.word": "a" * 1000}, [])
    _, faults = declared.flatten({"a.slow": list(range(1000)), "a.word": "a" * 40 + "1"})
    assert [fault.partition(":")[0] for fault in faults] == ["a.slow", "a.word"]
    assert all("takes too long to check" in fault for fault in faults)


def test_long_lists_are_appended_in_one_go() -> None:
    def names(first: int) -> list[Any]:
        return [each for number in range(first, first + 5_000) for each in (f"p{number}", {"name": [number]})]

    listed = Param("packages.install", "x", {"type": "array"}, names(0), Merge.APPEND)
    declared = Declarations({"packages.install": listed})
    both = declared.resolve([Layer("site", "x", {"packages.install": names(2_500)})])
    assert both.flat["packages.install"] == names(0) + names(5_000)[:5_000]
