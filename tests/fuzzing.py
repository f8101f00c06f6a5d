"""Damage, seeded: what a disk, a network or somebody of ill will makes of a file."""

import json
import math
import random
from collections.abc import Iterator
from typing import Any


def damaged(content: bytes, seed: int) -> bytes:
    """The content after one to three kinds of damage that depend on the seed alone."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 3)):
        content = chance.choice(_KINDS)(content, chance)
    return content


def with_odd_leaf(content: str, seed: int) -> str:
    """JSON in which one value, at any depth, is another: valid as before, but not what was meant."""
    chance, whole = random.Random(seed), json.loads(content)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            walk(value[key])

    walk(whole)
    inside, key = chance.choice(places)
    inside[key] = chance.choice(_LEAVES)
    if isinstance(inside, dict) and chance.random() < 0.1:
        inside[chance.choice(("", "foo.png", "../a", "\0", "999999_sample99999.png"))] = inside.pop(key)
    return json.dumps(whole)


_LEAVES = [
    None, True, -5, 0, 1, 10**9, 10**400, 1.5, math.inf, -math.inf, math.nan, "", "a\0b", "\ud800", "../..", "inf", "x" * 10**5, [], {},
]  # fmt: skip


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 20))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _head(content: bytes, chance: random.Random) -> bytes:
    """Damage near the start, where sizes stand."""
    size = min(len(content), 64)
    return _flip(content[:size], chance) + content[size:]


def _huge(content: bytes, chance: random.Random) -> bytes:
    """A large number in the place of four or eight bytes."""
    at, size = chance.randrange(max(1, len(content))), chance.choice((4, 8))
    at = chance.choice((at, min(at, 64)))
    return content[:at] + chance.choice((b"\xff", b"\x7f", b"\x00")) * size + content[at + size :]


def _doubled(content: bytes, chance: random.Random) -> bytes:
    """A part that stands there twice."""
    start = chance.randrange(len(content) + 1)
    end = min(len(content), start + chance.randrange(1, 200))
    return content[:end] + content[start:end] + content[end:]


def _without(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    return content[:start] + content[start + chance.randrange(1, 200) :]


def _random(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    return content[:start] + chance.randbytes(chance.randrange(1, 100)) + content[start:]


def _words(content: bytes, chance: random.Random) -> bytes:
    """In texts: a value of another kind or size."""
    text = content
    for old, new in chance.sample(_SWAPS, 3):
        text = text.replace(old, new, chance.choice((1, 1, -1)))
    return text


_SWAPS = [
    (b"1", b"1e999"), (b"0", b"-1"), (b"4", b"4" * 400), (b"true", b"null"), (b"false", b"[]"), (b"null", b"{}"),
    (b'"', b"'"), (b"{", b"["), (b"}", b"]"), (b":", b","), (b"2", b"NaN"), (b"3", b'"3"'), (b",", b",,"),
    (b"000000", b"999999"), (b"sample", b"../sample"), (b".png", b"\\u0000"), (b"[", b"[" * 5000),
]  # fmt: skip
_KINDS = (_cut, _flip, _flip, _head, _huge, _doubled, _without, _random, _words)


def greatest_memory() -> float:
    """Of this process so far, in MiB; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0


def seeds(first: int, count: int) -> Iterator[int]:
    return iter(range(first, first + count))
