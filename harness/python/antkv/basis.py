"""The basis that values are coded in (generator/CACHE.md, "Basis of values"), applied around the ops: a cache gets T v, and T^-1 brings back what attention gives.

A model whose weights have it (harness/python/eval/fold.py) needs none of this: two small products per layer and step."""

from typing import Any, Tuple

import torch
from torch import Tensor

from .errors import ArgumentError


class Basis:
    """matrices: (T, T^-1), each [kv_heads, d, d] fp32, as bytes (read_codebooks) or tensors."""

    def __init__(self, matrices: Tuple[Any, Any], kv_heads: int, head_dim: int, device: torch.device):
        shape = (kv_heads, head_dim, head_dim)
        whole = [data if isinstance(data, Tensor) else torch.frombuffer(bytearray(data), dtype=torch.float32) for data in matrices]
        for data in whole:
            if data.numel() != kv_heads * head_dim * head_dim or data.dtype != torch.float32:
                raise ArgumentError(f"Basis: a matrix array has {data.numel()} elements of {data.dtype}; it is float32 {list(shape)}")
        self.to, self.back = (data.reshape(shape).to(device) for data in whole)

    def enter(self, v: Tensor) -> Tensor:
        """v [rows, kv_heads, d] as a cache takes it."""
        return torch.einsum("hij,rhj->rhi", self.to, v.float()).to(v.dtype)

    def leave(self, o: Tensor) -> Tensor:
        """o [rows, q_heads, d] of the values as they were."""
        groups = o.float().unflatten(1, (self.back.shape[0], -1))
        return torch.einsum("hij,rhgj->rhgi", self.back, groups).flatten(1, 2).to(o.dtype)
