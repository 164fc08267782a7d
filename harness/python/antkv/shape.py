"""The problem as the host bounds it, and the splits that no table chose."""

from dataclasses import dataclass
from typing import Optional

from .errors import ArgumentError, whole
from .rules import MAX_GRID, MAX_Q_LEN, MAX_RATIO, MAX_TOKENS

SPREADS = ("sequence", "spread", "fastest")  # as antkv_table's modes


@dataclass(frozen=True)
class Shape:
    """Bounds of launches; a captured graph keeps to them. Of ops other than decode, which do without, batch, kv_heads and max_tokens choose the kernel."""

    batch: int
    q_heads: int
    kv_heads: int
    max_tokens: int  # largest kv_len that the launches will see; of other ops the tokens or keys of a sequence
    max_q_len: int = 1  # query rows per sequence
    rows: int = 0  # query rows of all sequences; 0: batch * max_q_len
    splits: int = 0  # CTAs that share a sequence and KV head; 0: chosen
    spread: str = "sequence"  # "spread": unequal lengths are cut into equal shares; "sequence": a row's bits ignore its batch mates; "fastest": either

    def __post_init__(self):
        for name, most in (("batch", MAX_GRID), ("q_heads", MAX_GRID * MAX_RATIO), ("kv_heads", MAX_GRID), ("max_tokens", MAX_TOKENS)):
            if not 1 <= whole(f"Shape: {name}", getattr(self, name)) <= most:
                raise ArgumentError(f"Shape: {name} is {getattr(self, name)}, not 1 to {most}")
        if self.q_heads < self.kv_heads or self.q_heads % self.kv_heads or self.q_heads // self.kv_heads > MAX_RATIO:
            raise ArgumentError(f"Shape: q_heads {self.q_heads} is not 1 to {MAX_RATIO} times kv_heads {self.kv_heads}")
        if not 1 <= whole("Shape: max_q_len", self.max_q_len) <= MAX_Q_LEN:
            raise ArgumentError(f"Shape: max_q_len {self.max_q_len} is not 1 to {MAX_Q_LEN}; longer queries go through unpack")
        for name, most in (("rows", self.batch * self.max_q_len), ("splits", MAX_GRID)):
            if not 0 <= whole(f"Shape: {name}", getattr(self, name)) <= most:
                raise ArgumentError(f"Shape: {name} is {getattr(self, name)}, not 0 to {most}")
        if self.spread not in SPREADS:
            raise ArgumentError(f'Shape: spread is "{self.spread}", not one of {", ".join(SPREADS)}')

    @property
    def all_rows(self) -> int:
        return self.rows or self.batch * self.max_q_len

    def lines(self, columns: int) -> int:
        """Groups of query columns times KV heads: grid.y of decode."""
        return self.kv_heads * -(-self.max_q_len * (self.q_heads // self.kv_heads) // columns)


# The host bound on the tokens of a sequence.
_TOKENS = {
    **{op: lambda p: p.max_tokens for op in ("encode", "score", "unpack")},
    "select": lambda p: min(p.score_stride, 32 * p.keep_words),
    "append": lambda p: p.max_pages * p.page_size,  # 0 with page_indptr: only device memory knows
}


def shape_of(op: str, params) -> Optional[Shape]:
    """What the struct of an op other than decode says of its problem, as tables are asked; None where it bounds nothing: combine and kmeans have one kernel."""
    if op not in _TOKENS:
        return None
    batch, heads, tokens = params.batch, params.kv_heads, _TOKENS[op](params)
    return Shape(batch, heads, heads, min(tokens, MAX_TOKENS)) if min(batch, heads, tokens) >= 1 and max(batch, heads) <= MAX_GRID else None


def choose_splits(shape: Shape, *, spread: bool, columns: int, tokens: int, multiprocessors: int, resident: int) -> int:
    """The rule of antkv_load.h where no tuning table says better; that file says where its costs come from.
    `tokens`: of a step of a block; `resident`: blocks that fit an SM at once."""
    lines, resident = shape.lines(columns), max(1, resident)
    if spread:  # one wave of equal shares, none below 256 tokens
        most = min(1024, shape.batch * -(-shape.max_tokens // 256))
        return max(1, min(most, multiprocessors * resident // lines))
    blocks, steps, wave = shape.batch * lines, -(-shape.max_tokens // tokens), multiprocessors * resident

    def cost(splits: int) -> int:
        waves, rest = blocks * splits // wave, -(-(blocks * splits % wave) // multiprocessors)
        slowness = waves * (1 + resident) + (1 + rest if rest else 0)
        return 8 * (-(-steps // splits) + 1) * slowness + (16 + splits if splits > 1 else 0)

    return min(range(1, max(1, min(steps, 256)) + 1), key=cost)  # of equals the first
