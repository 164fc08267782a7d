"""Centroids moved by gradient: what k-means finds minimises errors of rows, this minimises how far the model's answers drift from its own exact ones.

Codes are chosen anew in every step, by the nearest centroid, as `encode` chooses them; gradients go to the centroids that were chosen, and straight through to what made the
rows. The loss is the divergence KL(exact || quantised) of next-token distributions: no label is used, so that the codebooks learn the model and not the text.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .codes import stored
from .model import Exact
from .recipe import Codec
from .simulate import Simulated


@dataclass(frozen=True)
class Tuning:
    """lr: step size of Adam, in root-mean-squares of a codebook. tokens and windows: what a step reads. ring: the recipe's window stays exact while tuning, as in a cache at work;
    else every token is coded, the strictest reading."""

    steps: int = 300
    lr: float = 0.01
    windows: int = 4
    tokens: int = 4096
    seed: int = 0
    ring: bool = False


class Fast(Exact):
    """Exact attention by PyTorch's own kernel."""

    def __call__(self, layer, q, k, v):
        return fused(self.rope.rotate(q.float()), self.rope.rotate(k.float()), v.float())


def fused(q, k, v):
    ratio = q.shape[1] // k.shape[1]
    half = lambda x: x.to(torch.bfloat16) if x.is_cuda else x
    k, v = (half(x).repeat_interleave(ratio, 1) for x in (k, v))
    return F.scaled_dot_product_attention(half(q), k, v, is_causal=True).float()


class Trained(Simulated):
    """The simulation, its attention fused where no window needs two keys per token. Raises ValueError on anchors that are chosen online."""

    def __call__(self, layer, q, k, v):
        recipe, (k_book, v_book) = self.plan[layer], self.books[layer]
        if recipe.selection != "global":
            raise ValueError("tuning knows anchors chosen globally")
        q, k, v = q.float(), k.float(), v.float()
        if recipe.window:
            return super().__call__(layer, q, k, v).float()
        k_hat, v_hat = self.coded_keys(recipe, k, k_book), self.coded(recipe, "v", v, v_book)
        q, k = self.rope.rotate(q), self.rope.rotate(k)
        kept = self.kept(recipe, q, k, v).unsqueeze(-1)
        return fused(q, torch.where(kept, k, k_hat), torch.where(kept, v, v_hat))


def tuned(model, plan, books, ids, tuning, report=None):
    """Codebooks like `books` (one (k, v) per layer), tuned on the token ids [tokens]; `report(step, loss)` is called now and then."""
    books = [tuple(None if book is None else book.detach().clone().requires_grad_() for book in pair) for pair in books]
    groups = [{"params": [book], "lr": tuning.lr * book.square().mean().sqrt().item()} for pair in books for book in pair if book is not None]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [g["lr"] for g in groups], total_steps=tuning.steps + 1, pct_start=0.1, cycle_momentum=False)
    exact, student = Fast(model.rope), Trained(model.rope, plan, books)
    generator = torch.Generator().manual_seed(tuning.seed)
    for step in range(tuning.steps):
        starts = torch.randint(len(ids) - tuning.tokens, (tuning.windows,), generator=generator).tolist()
        batch = torch.stack([ids[s : s + tuning.tokens] for s in starts]).to(model.device)
        batch[:, 0] = 0
        loss = divergence(model, batch, exact, student)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if report and (step % 50 == 0 or step == tuning.steps - 1):
            report(step, loss.item())
    q8 = [(Codec.parse(recipe.k).q8, Codec.parse(recipe.v).q8) for recipe in plan]
    return [tuple(None if book is None else stored(book.detach(), flag) for book, flag in zip(pair, flags)) for pair, flags in zip(books, q8)]


def divergence(model, ids, exact, student):
    """Mean KL divergence of the next-token distributions, in nats."""
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
        with torch.no_grad():
            target = model.logits(model.hidden(ids, exact)).float().log_softmax(-1)
        found = model.logits(model.hidden(ids, student)).float().log_softmax(-1)
    return F.kl_div(found.flatten(0, 1), target.flatten(0, 1), log_target=True, reduction="batchmean")
