"""Whatever a value holds, it is read back as that one value by the language it was put into."""

from __future__ import annotations

import configparser
import json
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner import yamlfile
from provisioner.catalog import escape
from provisioner.errors import RenderError

HOSTILE = [
    "",
    "plain",
    "it's",
    'say "hi"',
    "two\nlines",
    "$(reboot)",
    "`reboot`",
    "a; reboot",
    "{{ machine }}",
    "${net0/mac}",
    "%n",
    "\\",
    "no",
    "012",
    "2024-01-01",
    "- x",
    "a: b",
    "#c",
    "&amp;<x/>",
    "]]>",
    "\x85\u2028\ufeff",
    "\U0001f600",
    "\t",
    " blank ",
    "*x",
    "%TAG",
    "\x7f",
    "~",
]
texts = st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=40)


def read_yaml(text: str) -> Any:
    return yamlfile.load(f"a:\n  - {text}\n", "x").value["a"][0]


def read_xml(text: str) -> tuple[str, str]:
    root = ElementTree.fromstring(f"<a b='{text}'>{text}</a>")
    return root.get("b", ""), root.text or ""


def read_ini(text: str) -> str:
    parser = configparser.ConfigParser()
    parser.read_string(f"[a]\nb = {text}\n")
    return parser["a"]["b"]


READ_BACK: dict[str, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    "sh": (escape.shell, lambda text: shlex.split(f"echo {text}")[1]),
    "ks": (escape.kickstart, lambda text: shlex.split(f"rootpw {text}")[1]),
    "json": (escape.json_, json.loads),
    "toml": (escape.toml, lambda text: tomllib.loads(f"a = {text}")["a"]),
    "yaml": (escape.yaml, read_yaml),
    "xml": (escape.xml, lambda text: read_xml(text)[0]),
    "xml text": (escape.xml, lambda text: read_xml(text)[1]),
    "ini": (escape.ini, read_ini),
    "preseed": (escape.preseed, lambda text: f"d-i q string {text}".split(" ", 3)[3]),
    "word": (escape.word, lambda text: text),
    "ps1": (
        escape.powershell,
        lambda text: (
            text[1:-1].replace("''", "'").replace("‘‘", "‘").replace("’’", "’").replace("‚‚", "‚").replace("‛‛", "‛")
        ),
    ),
    "args": (escape.kernel_arg, lambda text: text),
}


@pytest.mark.parametrize("dialect", READ_BACK)
@given(value=texts)
@settings(max_examples=300)
def test_text_is_read_back_or_refused(dialect: str, value: str) -> None:
    is_read_back_or_refused(dialect, value)


@pytest.mark.parametrize("dialect", READ_BACK)
def test_hostile_text_is_read_back_or_refused(dialect: str) -> None:
    for value in HOSTILE:
        is_read_back_or_refused(dialect, value)


def is_read_back_or_refused(dialect: str, value: str) -> None:
    write, read = READ_BACK[dialect]
    try:
        written = write(value)
    except RenderError:
        assert dialect not in ("sh", "json", "toml", "yaml", "ps1") or "\0" in value
        return
    assert read(written) == value
    if dialect not in ("sh", "ps1"):
        assert "\n" not in written, "one line stays one line"


def test_a_real_shell_reads_its_words_back() -> None:
    words = [value for value in HOSTILE if "\0" not in value]
    script = "printf '%s\\0' " + " ".join(escape.shell(value) for value in words)
    run = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert run.stdout.decode().split("\0")[:-1] == words


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts.filter(lambda key: key != "<<"), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(trees)
def test_structures_are_read_back_from_yaml(value: Any) -> None:
    assert read_yaml(escape.yaml(value)) == value


@given(trees)
def test_structures_are_read_back_from_json(value: Any) -> None:
    assert json.loads(escape.json_(value)) == value


STRUCTURES: dict[str, Any] = {
    "lists in mappings": {"a": [1, True, None, "x"], "b: c": {}},
    "mappings in lists": [{"it's": ["- x", "#c"]}, [], ""],
    "text that is a number, a truth value, a date": ["012", "no", "2024-01-01", "~"],
}


@pytest.mark.parametrize("value", STRUCTURES.values(), ids=STRUCTURES.keys())
def test_a_structure_is_read_back(value: Any) -> None:
    assert read_yaml(escape.yaml(value)) == value
    assert json.loads(escape.json_(value)) == value


def test_lists_and_numbers_are_read_back_from_toml() -> None:
    value = ["x", 'say "hi"', 7, True, ["\\"]]
    assert tomllib.loads(f"a = {escape.toml(value)}")["a"] == value


REFUSED: dict[str, tuple[Callable[[Any], str], Any]] = {
    "a line end in a preseed line": (escape.preseed, "a\nd-i x"),
    "a continuation in a preseed line": (escape.preseed, "a\\"),
    "blanks that debconf would drop": (escape.preseed, " a"),
    "a line end in a kickstart command": (escape.kickstart, "a\n%post"),
    "what pykickstart takes for one": (escape.kickstart, "a\u2028%post"),
    "another such in a kickstart command": (escape.kickstart, "a\x85"),
    "a control character in XML": (escape.xml, "\x00"),
    "a line end in a unit file": (escape.ini, "a\nExecStart=x"),
    "a NUL in a shell script": (escape.shell, "\0"),
    "a NUL in PowerShell": (escape.powershell, "\0"),
    "a blank where there are no quotes": (escape.word, "a b"),
    "a list printed as text": (escape.shell, ["a"]),
    "nothing printed as text": (escape.shell, None),
    "half a surrogate pair in YAML": (escape.yaml, "\ud800"),
    "half a surrogate pair in TOML": (escape.toml, "\ud800"),
    "a console that is no argument": (escape.consoles, ["tty0 x"]),
    "a kernel argument with a quote": (escape.kernel_args, ["a='b'"]),
}


@pytest.mark.parametrize(("write", "value"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_what_the_dialect_cannot_say(write: Callable[[Any], str], value: Any) -> None:
    with pytest.raises(RenderError):
        write(value)


def test_numbers_and_truth_values_have_one_spelling() -> None:
    assert [escape.shell(value) for value in (1, 1.5, True, False)] == ["1", "1.5", "true", "false"]


def test_lists_of_kernel_arguments() -> None:
    assert escape.kernel_args(["a", "b=c"]) == "a b=c"
    assert escape.consoles(["tty0", "ttyS0,115200n8"]) == "console=tty0 console=ttyS0,115200n8"


def test_joined_with_plain_text_it_is_plain_again() -> None:
    assert type(escape.shell("a b") + "; reboot") is str


DIALECT_OF = {
    "agent/image.sh.j2": "sh",
    "x/user-data.yaml.j2": "yaml",
    "x/config.ign.j2": "json",
    "bootenvs/x.amd64.args.j2": "args",
}


@pytest.mark.parametrize(("name", "dialect"), DIALECT_OF.items())
def test_the_ending_says_the_dialect(name: str, dialect: str) -> None:
    assert escape.dialect_of(name) == dialect


@pytest.mark.parametrize("name", ["x.sh", "x.j2", "x.unknown.j2"])
def test_a_template_without_a_dialect_is_refused(name: str) -> None:
    with pytest.raises(RenderError, match="no dialect"):
        escape.dialect_of(name)
