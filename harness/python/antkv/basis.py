"""The basis that values are coded in (generator/CACHE.md, "Basis of values"), applied around the ops: a cache gets T v, and T^-1 brings back what attention gives.

A model whose weights have it (harness/python/eval/fold.py) needs none of this: two small products per layer and step."""

from typing import Any, Mapping, Optional, Tuple

import torch
from torch import Tensor

from .errors import ArgumentError
from .pack import PackedCodebook


class Basis:
    """matrices: (T, T^-1), each [kv_heads, d, d] fp32, as bytes (read_codebooks) or tensors; None: values stay what they are."""

    def __init__(self, matrices: Optional[Tuple[Any, Any]], kv_heads: int, head_dim: int, device: torch.device):
        self.to = self.back = None
        if matrices is None:
            return
        shape = (kv_heads, head_dim, head_dim)
        whole = [data if isinstance(data, Tensor) else torch.frombuffer(bytearray(data), dtype=torch.float32) for data in matrices]
        for data in whole:
            if data.numel() != kv_heads * head_dim * head_dim or data.dtype != torch.float32:
                raise ArgumentError(f"Basis: matrices have {data.numel()} elements of {data.dtype}; they are float32 {list(shape)}")
        self.to, self.back = (data.reshape(shape).to(device) for data in whole)

    def enter(self, v: Tensor) -> Tensor:
        """v [rows, kv_heads, d] as a cache takes it."""
        return v if self.to is None else torch.einsum("hij,rhj->rhi", self.to, v.float()).to(v.dtype)

    def leave(self, o: Tensor) -> Tensor:
        """o [rows, q_heads, d] of the values as they were."""
        if self.back is None:
            return o
        groups = o.float().unflatten(1, (self.back.shape[0], -1))
        return torch.einsum("hij,rhgj->rhgi", self.back, groups).flatten(1, 2).to(o.dtype)


def basis_of(recipe: Mapping[str, Any], book: Optional[PackedCodebook], layer: int, folded: bool, device: torch.device) -> Basis:
    """What recipe and codebook of a layer's values say alike; folded: the model's weights have it. Raises ArgumentError where they differ: outputs would be wrong without a word."""
    transform = recipe.get("transform", "none")
    if folded or book is None:
        return Basis(None, 0, 0, device)
    if (transform == "basis") != (book.basis is not None):
        has = "no basis" if book.basis is None else "a basis"
        raise ArgumentError(f"Cache: the codebook of layer {layer} has {has} of values, the recipe's transform is {transform}; calibrate for this recipe, or say folded=True where the model's weights have it")
    return Basis(book.basis, book.kv_heads, book.head_dim, device)
