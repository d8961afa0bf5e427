"""The one kind of error a user causes and can mend: one clear message, no traceback."""


class BodyfitError(ValueError):
    """Bad input. The message names the file, what was found, what was expected and what to do."""
