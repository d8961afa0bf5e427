"""Log messages of a run: carried home from helper processes, and what repeats is counted instead of printed."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SHOWN = 3
"""Messages of one kind that are printed; the others are counted."""
_NAMES = re.compile(r"\S*[\d/]\S*")
"""Words with a digit or a slash: names and numbers, in which messages of one kind differ."""


@dataclass(frozen=True)
class Said:
    """A log message of another process."""

    logger: str
    level: int
    message: str
    """With its values: those of NumPy and of our own kinds need not be sent between processes."""

    def say(self) -> None:
        """Log it here."""
        logging.getLogger(self.logger).log(self.level, "%s", self.message)


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[Said] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(Said(record.name, record.levelno, record.getMessage()))


def collected(function: Callable[..., Any], *arguments: Any) -> tuple[Any, list[Said]]:
    """function(*arguments), and what it logged meanwhile: for processes whose log nobody reads."""
    keeper, ours = _Keeper(), logging.getLogger("bodyfit")
    ours.addHandler(keeper)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    try:
        return function(*arguments), keeper.said
    finally:
        ours.removeHandler(keeper)


class _Repeats(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[tuple[str, int, str]] = Counter()
        self.printed: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("bodyfit"):
            return True
        if not hasattr(record, "time_said"):  # the first of several handlers
            record.time_said = self._count(record)
        return record.time_said <= SHOWN

    def _count(self, record: logging.LogRecord) -> int:
        """How many of the kind of a message there were, itself among them; many where each process of a run says the
        same of itself, which need not be told again."""
        message = record.getMessage()
        if record.levelno < logging.WARNING and message in self.printed:
            return SHOWN + 1
        kind = (record.name, record.levelno, _NAMES.sub("…", message))
        self.count[kind] += 1
        if self.count[kind] <= SHOWN:
            self.printed.add(message)
        return self.count[kind]


@contextmanager
def repeats_counted() -> Iterator[None]:
    """Within, messages that differ in names and numbers alone are printed three times, then counted."""
    repeats, handlers = _Repeats(), list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(repeats)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(repeats)
        for (name, level, message), count in repeats.count.items():
            if count > SHOWN:
                logging.getLogger(name).log(level, "%d more like this: %s", count - SHOWN, message)
