"""Attention over a quantised cache, in plain fp32: what the kernels should compute, without tiles, pages or rings.

Every key and value that a row sees is decoded from its codes, unless it is kept: an anchor, or one of the newest tokens. Two rules say which those are. `newest`: the W
tokens up to and with the row's own (W = 0: none; the strictest protocol). `flush`: those beyond c(i) = F floor((i - W) / F) of row i, as CACHE.md's ring has them.
"""

import torch

from . import scores
from .codes import decoded, gain
from .model import grouped, scores_of


class Simulated:
    """An attention back end. plan: one recipe per layer; books: per layer (k, v) codebooks [kv_heads, chunks, entries, channels], None where a side is exact.

    rule: `newest` or `flush` (above). gain_bits: width of gains. rows: rows computed at a time. `held_bits` says what runs so far stored per element when their last row was
    done. Raises ValueError on recipes that need what is not here.
    """

    def __init__(self, rope, plan, books, rule="newest", gain_bits=16, rows=512):
        for recipe in plan:
            if recipe.transform not in ("none", "basis") or recipe.scope != "chunk":
                raise ValueError(f"transform {recipe.transform}, scope {recipe.scope}: only none, basis (folded into the model) and chunk are simulated")
            if recipe.extra_tokens:
                raise ValueError(f"extra_tokens {recipe.extra_tokens}: anchors that lose and stay are not simulated")
            if recipe.selection == "online" and recipe.policy not in ("none", "first") and (rule != "flush" or recipe.policy != "column" or recipe.window < 16):
                raise ValueError("online selection goes by column sums at each flush: it needs rule flush and a window of 16 or more")
        self.rope, self.plan, self.books, self.rule, self.gain_bits, self.rows = rope, plan, books, rule, gain_bits, rows
        self.stored = self.elements = 0

    @property
    def held_bits(self):
        return self.stored / self.elements

    def __call__(self, layer, q, k, v):
        recipe, (k_book, v_book) = self.plan[layer], self.books[layer]
        k_hat, v_hat = self.coded_keys(recipe, k, k_book), self.coded(recipe, "v", v, v_book)
        q, k = self.rope.rotate(q), self.rope.rotate(k)
        anchors = self.anchors(recipe, q, k, v)
        out = []
        for first, end in self.blocks(recipe, q.shape[2]):
            exact = self.exact(recipe, anchors, first, end)
            o, p = mixed(q[:, :, first:end], (k[:, :, :end], v[:, :, :end]), (k_hat[:, :, :end], v_hat[:, :, :end]), exact, first)
            anchors.seen(p, first)
            out.append(o)
        self.count(recipe, k, anchors)
        return torch.cat(out, 2)

    def anchors(self, recipe, q, k, v):
        """What chooses tokens to keep; q and k after RoPE."""
        if recipe.selection == "global" or recipe.policy in ("none", "first") or not recipe.coded:
            return Chosen(self.kept(recipe, q, k, v))
        return Online(recipe, k)

    def coded(self, recipe, side, x, book):
        """x [batch, kv_heads, tokens, d] as it comes back from its codes; straight through for gradients to what made x."""
        if book is None:
            return x
        found = decoded(x, book)
        if recipe.gain_on(side):
            found = found * gain(x.detach(), found, self.gain_bits)
        return found + (x - x.detach()) if x.requires_grad else found

    def coded_keys(self, recipe, k, book):
        """After RoPE."""
        if recipe.key == "pre":
            return self.rope.rotate(self.coded(recipe, "k", k, book))
        return self.coded(recipe, "k", self.rope.rotate(k), book)

    @torch.no_grad()
    def kept(self, recipe, q, k, v):
        """Anchors by scores of the whole sequence, later rows included; all tokens if the recipe is exact: [batch, kv_heads, tokens] bool."""
        tokens = k.shape[2]
        kept = torch.full(k.shape[:3], not recipe.coded, device=k.device)
        kept[:, :, : recipe.first_tokens] = True
        count = recipe.budget(tokens) - recipe.first_tokens
        return kept if count <= 0 else kept | scores.top(scores.policy_scores(recipe.policy, q, k, v).masked_fill(kept, -torch.inf), count)

    def blocks(self, recipe, tokens):
        """(first, end) of the rows that are computed together; under `flush` those of one coded length."""
        if self.rule == "newest" or not recipe.coded:
            return [(first, min(first + self.rows, tokens)) for first in range(0, tokens, self.rows)]
        starts = [0] + list(range(recipe.window + recipe.flush_block, tokens, recipe.flush_block))
        return list(zip(starts, starts[1:] + [tokens]))

    def exact(self, recipe, anchors, first, end):
        """Which keys the rows first ... end - 1 see exactly: [batch, kv_heads, rows or 1, end] bool."""
        if self.rule == "flush" and recipe.coded:
            coded = coded_length(recipe, first)
            mask = anchors.mask(coded)[:, :, :end]
            return (mask | (torch.arange(end, device=mask.device) >= coded)).unsqueeze(2)
        mask = anchors.mask(end)[:, :, :end].unsqueeze(2)
        if recipe.window == 0:
            return mask
        row = torch.arange(first, end, device=mask.device).unsqueeze(1)
        return mask | (torch.arange(end, device=mask.device) > row - recipe.window)

    def count(self, recipe, k, anchors):
        """Adds what a layer holds after its last row."""
        batch, heads, tokens, d = k.shape
        coded = 0 if not recipe.coded else coded_length(recipe, tokens) if self.rule == "flush" else tokens - min(tokens, recipe.window)
        kept = anchors.mask(coded)[:, :, :coded].sum().item() / (batch * heads)
        self.stored += recipe.held_bits(d, tokens, coded, kept) * batch * heads * tokens
        self.elements += batch * heads * tokens


def coded_length(recipe, tokens):
    """c(n) of CACHE.md."""
    return recipe.flush_block * (max(0, tokens - recipe.window) // recipe.flush_block)


class Chosen:
    """Anchors that are known from the start."""

    def __init__(self, mask):
        self.all = mask

    def mask(self, coded):
        return self.all

    def seen(self, p, first):
        pass


class Online:
    """Anchors chosen at each flush, by mean column sums of the rows that saw a token in the ring; those chosen before keep their scores and compete again (CACHE.md, "Anchors")."""

    def __init__(self, recipe, k):
        self.recipe, self.coded = recipe, 0
        self.all = torch.zeros(k.shape[:3], dtype=torch.bool, device=k.device)
        self.sums = torch.zeros(k.shape[:3], device=k.device)
        self.rows = torch.zeros(k.shape[2], device=k.device)
        self.frozen = torch.full(k.shape[:3], -torch.inf, device=k.device)

    def mask(self, coded):
        """Anchors while the first `coded` tokens are coded, which grow with every call: [batch, kv_heads, tokens] bool."""
        for end in range(self.coded + self.recipe.flush_block, coded + 1, self.recipe.flush_block):
            self.flush(end)
        return self.all

    @torch.no_grad()
    def seen(self, p, first):
        """Rows first, first + 1 ... had attention p [batch, q_heads, rows, keys]; what is coded or kept gathers no more."""
        batch, heads, rows, keys = p.shape
        sums = p.reshape(batch, self.sums.shape[1], -1, keys).sum(2)
        self.sums[:, :, self.coded : keys] += sums[:, :, self.coded :]
        token = torch.arange(keys, device=p.device)
        self.rows[self.coded : keys] += (first + rows - token.clamp_min(first))[self.coded :]

    def flush(self, end):
        block = slice(self.coded, end)
        self.frozen[:, :, block] = self.sums[:, :, block] / self.rows[block]
        first = min(end, self.recipe.first_tokens)
        self.frozen[:, :, :first] = torch.inf
        self.all = scores.top(self.frozen, self.recipe.budget(end))
        self.frozen.masked_fill_(~self.all, -torch.inf)
        self.coded = end


def mixed(q, exact_rows, coded_rows, exact, first):
    """Attention where `exact` [batch, kv_heads, rows or 1, keys] chooses between two pairs (k, v) [batch, kv_heads, keys, d]; rows stand at first, first + 1 ... Returns
    the output like q, and the weights [batch, q_heads, rows, keys]."""
    (k, v), (k_hat, v_hat) = exact_rows, coded_rows
    if exact.shape[2] == 1:
        choose = exact.transpose(2, 3)
        p = scores_of(q, torch.where(choose, k, k_hat), first).softmax(-1)
        return grouped(p, torch.where(choose, v, v_hat)), p
    choose = exact.repeat_interleave(q.shape[1] // k.shape[1], 1)
    p = torch.where(choose, scores_of(q, k, first), scores_of(q, k_hat, first)).softmax(-1)
    return grouped(p * choose, v) + grouped(p * ~choose, v_hat), p
