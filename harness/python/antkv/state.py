"""Host bookkeeping of a cache: lengths as pure functions of tokens, and pools of numbered things."""

from typing import List, NamedTuple

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


class Pool:
    """The numbers 0 ... size - 1, given out and taken back; the last one given back goes out first."""

    def __init__(self, size: int, what: str):
        self.size, self._what, self._free = size, what, list(range(size - 1, -1, -1))

    def take(self) -> int:
        return self.take_all(1)[0]

    def take_all(self, count: int) -> List[int]:
        """`count` numbers, none if it is not positive. Raises ArgumentError if there are fewer left."""
        if count > len(self._free):
            raise ArgumentError(f"Cache: {count} more {self._what} are needed, {len(self._free)} of {self.size} are free; end sequences, or make the cache larger")
        return [self._free.pop() for _ in range(max(0, count))]

    def give(self, numbers: List[int]) -> None:
        self._free.extend(numbers)
