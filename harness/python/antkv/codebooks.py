"""Codebooks as torch tensors: the packed layout without a copy to the host. pack.py is the same without torch; both give equal bytes."""

from typing import Optional

import torch
from torch import Tensor

from .errors import ArgumentError
from .pack import PackedCodebook


def pack_tensor(entries: Tensor, scale: Optional[Tensor] = None) -> PackedCodebook:
    """entries: [kv_heads, chunks, entries, channels] f16, or int8 with `scale` [kv_heads, head_dim] f32. The result's data is [kv_heads, bytes] uint8 on the same device."""
    if entries.dim() != 4 or entries.dtype != (torch.float16 if scale is None else torch.int8):
        raise ArgumentError(f"pack_tensor: entries is {entries.dtype} {list(entries.shape)}; it is [kv_heads, chunks, entries, channels], float16, or int8 with scale")
    heads, chunks, count, channels = entries.shape
    centroids, parts = entries.float(), [entries.contiguous().view(heads, -1).view(torch.uint8)]
    if scale is not None:
        if scale.dtype != torch.float32 or scale.shape != (heads, chunks * channels):
            raise ArgumentError(f"pack_tensor: scale is {scale.dtype} {list(scale.shape)}; it is float32 [{heads}, {chunks * channels}]")
        centroids = (entries.double() * scale.double().view(heads, chunks, 1, channels)).float()  # rounded once
        parts.append(scale.contiguous().view(torch.uint8))
    total = torch.zeros(centroids.shape[:3], dtype=torch.float64, device=entries.device)
    for channel in centroids.double().unbind(-1):  # in channel order, so that every language gets equal bits
        total += channel * channel
    parts.append((0.5 * total).float().view(heads, -1).view(torch.uint8))
    codec = f"{channels}c{count.bit_length() - 1}b{'' if scale is None else 'q8'}"
    return PackedCodebook(codec, heads, chunks * channels, torch.cat(parts, 1))
