"""Recipes as generator/recipe.ts has them, and what they cost. Needs no torch.

The presets are read from generator/recipes/presets; the counting is that of generator/bits.ts (CACHE.md, "Effective bits"): a test holds both to equal figures.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[3] / "generator" / "recipes"
PRESETS, OTHERS = RECIPES / "presets", RECIPES / "others"
USUAL_TOKENS = 32768


@dataclass(frozen=True)
class Codec:
    """`8c8b`: 8 channels per code of 8 bits; `16c6b6b`: 12 bits in 2 stages; q8: centroids in int8 steps. channels 0: exact rows."""

    name: str
    channels: int
    bits: int  # of a code, all stages together
    q8: bool
    stages: int = 1

    @staticmethod
    def parse(name):
        """Any width that the notation can say, offered by the kernels or not. Raises ValueError."""
        if name in ("f16", "bf16"):
            return Codec(name, 0, 16, False)
        match = re.fullmatch(r"(\d+)c((\d+)b(?:\3b)*)(q8)?", name)
        if not match:
            raise ValueError(f'no codec is called "{name}"; write channels and bits of a code as 8c8b, or f16')
        stages = match[2].count("b")
        return Codec(name, int(match[1]), int(match[3]) * stages, match[4] is not None, stages)

    @property
    def entries(self):
        """Centroids that a code can mean."""
        return 2**self.bits

    @property
    def stored(self):
        """Entries of a chunk's codebook, all stages together."""
        return self.stages * 2 ** (self.bits // self.stages)

    def row_bytes(self, head_dim):
        """Bytes of one token's codes, or of its exact row."""
        return head_dim // self.channels * self.bits / 8 if self.channels else head_dim * 2

    def codebook_bytes(self, head_dim):
        """Centroids and what belongs to them (int8 steps, half norms) of one KV head, as the kernels read them."""
        if not self.channels:
            return 0
        return self.stored * head_dim * (1 if self.q8 else 2) + (head_dim * 4 if self.q8 else 0) + head_dim // self.channels * self.entries * 4


@dataclass(frozen=True)
class Recipe:
    """The members, defaults and meanings of generator/recipe.ts."""

    k: str
    v: str
    key: str = "post"
    gain: str = "none"
    transform: str = "none"
    scope: str = "chunk"
    policy: str = "column"
    selection: str = "online"
    budget_permille: int = 10
    budget_tokens: int = 0
    extra_tokens: int = 0
    first_tokens: int = 0
    window: int = 128
    flush_block: int = 128

    @staticmethod
    def parse(members):
        """From parsed JSON. Raises ValueError on members that no recipe has: a misspelt axis must not mean its default."""
        known = {field.name for field in fields(Recipe)}
        unknown = [name for name in members if name not in known | {"$schema", "doc"}]
        if unknown:
            raise ValueError(f'a recipe has no axis "{unknown[0]}"; axes: {", ".join(sorted(known))}')
        return Recipe(**{name: value for name, value in members.items() if name in known})

    @staticmethod
    def named(name):
        """A preset, or another system's recipe. Raises ValueError with the names that there are."""
        file = next((file for file in (PRESETS / f"{name}.json", OTHERS / f"{name}.json") if file.exists()), None)
        if file is None:
            raise ValueError(f'no preset is called "{name}"; presets: {", ".join(preset_names() + other_names())}')
        return Recipe.parse(json.loads(file.read_text()))

    def set(self, **axes):
        return replace(self, **axes)

    def json(self):
        return asdict(self)

    def hash(self):
        """As recipeHash of generator/recipe.ts: eight bytes of SHA-256 over the members in sorted order; codebook files carry it."""
        return digest(self.json())

    def codebook_bytes(self, head_dim):
        """Of K and V of one KV head."""
        return Codec.parse(self.k).codebook_bytes(head_dim) + Codec.parse(self.v).codebook_bytes(head_dim)

    @property
    def coded(self):
        return bool(Codec.parse(self.k).channels or Codec.parse(self.v).channels)

    def gain_on(self, side):
        return self.gain != "none" and side in self.gain

    def budget(self, coded):
        """Most anchors of `coded` coded tokens: the budget over all of them, and the tokens that are always kept."""
        budget = self.budget_tokens or coded * self.budget_permille // 1000
        return 0 if self.policy == "none" else min(coded, budget + self.extra_tokens + self.first_tokens)

    def _coded_bytes(self, head_dim):
        gains = 0 if self.gain == "none" else len(self.gain)
        return Codec.parse(self.k).row_bytes(head_dim) + Codec.parse(self.v).row_bytes(head_dim) + gains * 2 + (1 / 8 if self.coded else 0)

    def held_bits(self, head_dim, tokens, coded, anchors):
        """Bits per element where `coded` of `tokens` tokens of one KV head are coded, and `anchors` of those are kept as well."""
        exact_row = head_dim * 4
        held = coded if self.coded else tokens
        return 8 * (held * self._coded_bytes(head_dim) + (tokens - held) * exact_row + anchors * (exact_row + 4)) / (2 * head_dim * tokens)

    def bits(self, head_dim, tokens=USUAL_TOKENS):
        """Effective bits per element at `tokens` tokens: W + F/2 of them are exact in the mean."""
        exact = min(tokens, self.window + self.flush_block / 2) if self.coded else 0
        return self.held_bits(head_dim, tokens, tokens - exact, self.budget(int(tokens - exact)))


def digest(members):
    return hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def plan_hash(plan):
    """Of recipes by layer: that of the recipe where all have one, else of the list."""
    return plan[0].hash() if len(set(plan)) == 1 else digest([recipe.json() for recipe in plan])


def preset_names():
    return sorted(file.stem for file in PRESETS.glob("*.json"))


def other_names():
    """Recipes of other systems."""
    return sorted(file.stem for file in OTHERS.glob("*.json"))
