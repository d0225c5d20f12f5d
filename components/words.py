"""Flags in one text, as parameters of components carry them."""

import shlex


def flag_words(text: str) -> list[str]:
    """The flags in a text, as a shell reads them: a blank inside quotes belongs to its flag.

    Raises:
      ValueError: a quote that is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot read the flags {text}: {error}; write quotes in pairs") from error
