"""Counts in messages: "1 person", "2 people"."""


def counted(count: int, one: str, more: str) -> str:
    """A count with its noun: one of them, or none or several."""
    return f"{count} {one if count == 1 else more}"
