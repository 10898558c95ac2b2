"""docs/bootenvs.md says what each system takes of the vocabulary."""

from __future__ import annotations

from provisioner.catalog.decode import SUPPORTS
from provisioner.catalog.words import WORDS
from tests.catalog.vocabulary import FILE, split, table


def test_the_table_says_what_bootenvs_take() -> None:
    _, written, _ = split(FILE.read_text())
    assert written == table(), "run `python -m tests.catalog.vocabulary`, and look at what it changes"


def test_every_word_of_the_table_is_known() -> None:
    assert set(SUPPORTS["lacks"]) == set(WORDS)
