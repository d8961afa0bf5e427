"""Counts in messages."""

from bodyfit.data.words import counted


def test_one_is_singular_and_everything_else_is_plural():
    assert [counted(n, "person", "people") for n in (0, 1, 2)] == ["0 people", "1 person", "2 people"]
