"""One line of kernel arguments stays one line, whatever an operator or a machine puts into it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.catalog.kernelargs import MAX_LINE, check_line, check_value, check_words
from provisioner.errors import RenderError

LINES = {
    "words and values": "quiet console=ttyS0,115200n8 ip=dhcp",
    "d-i's separator": "auto=true --- console=ttyS0",
    "cloud-init's seed with a semicolon": "ds=nocloud-net;s=http://10.0.0.1:8080/answers/x/",
    "an IPv6 address in a URL": "url=http://[fd77::1]:8080/x",
    "a module's parameter": "nvme_core.io_timeout=4294967295",
    "nothing": "",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_lines_that_real_bootenvs_need(line: str) -> None:
    assert check_line(line) == line


def test_folded_text_becomes_single_blanks() -> None:
    assert check_line("  a=1   b \n") == "a=1 b"


HOSTILE = {
    "a line end": "a=1\nb",
    "a quote": "a='1'",
    "a double quote": 'a="b c"',
    "an iPXE variable": "a=${net0/mac}",
    "a template": "a={{x}}",
    "a backslash": "a=\\x",
    "a command substitution": "a=$(id)",
    "a backtick": "a=`id`",
    "a pipe": "a || reboot",
    "a lone semicolon": "a ; reboot",
    "a comment": "a #b",
    "a redirection": "a >b",
    "a character beyond ASCII": "a=é",
    "a NUL": "a=\0",
    "more than the kernel reads": "a=" + "b" * MAX_LINE,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
def test_refuses_what_a_boot_loader_could_misread(line: str) -> None:
    with pytest.raises(RenderError):
        check_line(line)


@pytest.mark.parametrize("value", ["a b", "a;b", "a&b", "a'", 'a"', "${x}", "{{", "a\nb", "\\", "a|b", "#"])
def test_a_value_may_hold_even_less(value: str) -> None:
    with pytest.raises(RenderError, match="may not stand in a kernel argument"):
        check_value(value)


def test_words_of_a_list() -> None:
    assert check_words(["quiet", "console=ttyS0,115200n8"]) == "quiet console=ttyS0,115200n8"
    for words in (["a b"], [""], ["=x"]):
        with pytest.raises(RenderError):
            check_words(words)


@given(st.text(max_size=60))
def test_any_value_that_passes_is_one_word_of_safe_characters(value: str) -> None:
    try:
        checked = check_value(value)
    except RenderError:
        return
    assert check_line(f"name={checked}") == f"name={checked}"
    assert not set(checked) & set(" \t\r\n\"'`$\\;&|<>(){}#*!")
