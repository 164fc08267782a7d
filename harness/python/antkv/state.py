"""Host bookkeeping of a cache: lengths as pure functions of tokens, pools of numbered things, and what is known of a sequence."""

from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Sequence

from .errors import ArgumentError


class Lengths(NamedTuple):
    """generator/CACHE.md, "State of a sequence" and "Anchors"."""

    window: int
    flush_block: int
    budget_permille: int
    first_tokens: int
    exact: bool

    def coded(self, tokens: int) -> int:
        """Tokens in pages of an undisturbed sequence of `tokens`."""
        return tokens if self.exact else self.flush_block * (max(0, tokens - self.window) // self.flush_block)

    def anchor_rows(self, coded: int) -> int:
        """Rows that the budget may fill after `coded` tokens."""
        return coded * self.budget_permille // 1000 + self.first_tokens


@dataclass
class Held:
    """What a sequence of a cache holds."""

    slot: int
    committed: int  # tokens that are in for good
    pending: int  # rows of the step before, not yet committed
    coded: int  # tokens in pages
    score_row: int = -1  # where the step before left its scores
    pages: List[int] = field(default_factory=list)
    anchor_pages: List[int] = field(default_factory=list)
    frozen: int = 0  # tokens that it shares with others (frozen_len)
    frozen_pages: int = 0  # anchor pages that it shares, the first ones
    forks: int = 0  # how often it, or what it comes from, was forked


class Pool:
    """The numbers 0 ... size - 1, given out and taken back; the last one given back goes out first. One that several hold comes back with the last of them."""

    def __init__(self, size: int, what: str):
        self.size, self._what, self._free = size, what, list(range(size - 1, -1, -1))
        self._more: Dict[int, int] = {}  # holders beside the first, of those that have some

    def take(self) -> int:
        return self.take_all(1)[0]

    def check(self, count: int) -> None:
        """Raises ArgumentError if fewer than `count` are left."""
        if count > len(self._free):
            raise ArgumentError(f"Cache: {count} more {self._what} are needed, {len(self._free)} of {self.size} are free; end sequences, or make the cache larger")

    def take_all(self, count: int) -> List[int]:
        """`count` numbers. Raises ArgumentError if there are fewer left."""
        self.check(count)
        return [self._free.pop() for _ in range(count)]

    def share(self, numbers: Sequence[int]) -> None:
        """One more holds each of these."""
        for number in numbers:
            self._more[number] = self._more.get(number, 0) + 1

    def others(self, number: int) -> int:
        """Holders of a number that is out, beside one."""
        return self._more.get(number, 0)

    def give(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            others = self._more.pop(number, 0)
            if others == 0:
                self._free.append(number)
            elif others > 1:
                self._more[number] = others - 1
