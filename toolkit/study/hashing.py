"""Orders and choices that depend only on words, equal on every machine and in every version of Python."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from ntire_sr.core.files import sha256_bytes

Item = TypeVar("Item")


def number_of(*words: object) -> int:
    """A number below 2^60 that depends on all the words.

    >>> number_of(0, "a") == number_of(0, "a"), number_of(0, "a") == number_of(1, "a")
    (True, False)
    """
    return int(sha256_bytes("\n".join(map(str, words)).encode(errors="backslashreplace"))[:15], 16)


def shuffled(items: Iterable[Item], *words: object) -> list[Item]:
    """The items in an order that depends on the words.

    >>> shuffled("abcd", "seed", 1)
    ['b', 'd', 'c', 'a']
    """
    numbered = list(enumerate(items))
    numbered.sort(key=lambda pair: number_of(*words, pair[0]))
    return [item for _, item in numbered]


def chosen(items: Sequence[Item], *words: object) -> Item:
    """Choose one of the items by a hash of the words."""
    return items[number_of(*words) % len(items)]
