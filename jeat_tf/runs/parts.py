"""Work in parts, "i/m": the i-th, from 0, of m parts that several machines do."""

import re

_SHARD = re.compile(r"(\d+)/(\d+)")


def part_of(shard: str, count: int, what: str) -> range:
    """Which of `count` things a shard means: m parts in order that differ by one at most; "" means all of them.

    Args:
      shard: "i/m", or empty.
      count: how many there are to divide.
      what: plural noun for messages, e.g. "images".

    Raises:
      ValueError: not of that form, or more parts than things.
    """
    if not shard:
        return range(count)
    match = _SHARD.fullmatch(shard)
    if match is None or not int(match[1]) < int(match[2]):
        raise ValueError(f"expected --shard=i/m with i from 0 to m - 1, e.g. 0/4, received {shard}")
    i, parts = int(match[1]), int(match[2])
    if parts > count:
        raise ValueError(f"expected --shard=i/m with m <= {count}, received {shard}: there are {count} {what}")
    return range(i * count // parts, (i + 1) * count // parts)


def shard_name(shard: str) -> str:
    """ "00000-of-00004" of "0/4", as file names have it."""
    return "{:05d}-of-{:05d}".format(*map(int, shard.split("/")))
