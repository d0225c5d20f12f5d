"""What a net lacks that a setting of `Origin` would give, said as the reader would type it."""

from collections.abc import Callable


def in_python(name: str, value: str) -> str:
    """As an argument."""
    return f"{name}={value}"


def as_flag(name: str, value: str) -> str:
    """As a flag of the command line."""
    return f"--{name}" if value == "true" else f"--{name}={value}"


def behind(path: str) -> Callable[[str, str], str]:
    """As a setting behind the path of a net."""
    return lambda name, value: f"{path}:{name}={value}"


class MissingSetting(ValueError):
    """A net that cannot be used without a setting."""

    def __init__(self, before: str, name: str, value: str, after: str = "", write: Callable[[str, str], str] = as_flag):
        """
        Args:
          before: the sentence up to the setting.
          name: of the setting.
          value: as on the command line.
          after: the rest of the sentence.
          write: (name, value) -> how the setting is typed.
        """
        super().__init__(before, name, value, after)
        self.write = write

    def __str__(self) -> str:
        before, name, value, after = self.args
        return f"{before}{self.write(name, value)}{after}"

    def told(self, before: str = "", write: Callable[[str, str], str] | None = None) -> "MissingSetting":
        """The same with words before it, or typed in another way."""
        first, name, value, after = self.args
        return MissingSetting(before + first, name, value, after, write or self.write)
