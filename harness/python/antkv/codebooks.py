"""Codebooks as torch tensors: the packed layout without a copy to the host. pack.py is the same without torch; both give equal bytes."""

from typing import Optional

import torch
from torch import Tensor

from .errors import ArgumentError
from .pack import PackedCodebook, codec_of


def pack_tensor(entries: Tensor, scale: Optional[Tensor] = None) -> PackedCodebook:
    """entries: [kv_heads, chunks, entries, channels], or [kv_heads, chunks, stages, entries, channels], f16, or int8 with `scale` [kv_heads, head_dim] f32. The result's data is [kv_heads, bytes] uint8 on the same device."""
    if entries.dim() not in (4, 5) or entries.dtype != (torch.float16 if scale is None else torch.int8):
        raise ArgumentError(f"pack_tensor: entries is {entries.dtype} {list(entries.shape)}; it is [kv_heads, chunks, (stages,) entries, channels], float16, or int8 with scale")
    heads, chunks, channels = entries.shape[0], entries.shape[1], entries.shape[-1]
    parts = [entries.contiguous().view(heads, -1).view(torch.uint8)]
    # What each code means: sums are halves, or whole int8 steps, and so exact.
    stages = entries.float().unbind(2) if entries.dim() > 4 else [entries.float()]
    centroids = stages[0]
    for stage in stages[1:]:  # the first has the lowest part of a code
        centroids = (stage.unsqueeze(3) + centroids.unsqueeze(2)).flatten(2, 3)
    if len(stages) > 1 and scale is None and not torch.equal(centroids.half().float(), centroids):
        raise ArgumentError("pack_tensor: stages add up to what is no half; calibrate the codebook again")
    if scale is not None:
        if scale.dtype != torch.float32 or scale.shape != (heads, chunks * channels):
            raise ArgumentError(f"pack_tensor: scale is {scale.dtype} {list(scale.shape)}; it is float32 [{heads}, {chunks * channels}]")
        centroids = (centroids.double() * scale.double().view(heads, chunks, 1, channels)).float()  # rounded once
        parts.append(scale.contiguous().view(torch.uint8))
    total = torch.zeros(centroids.shape[:3], dtype=torch.float64, device=entries.device)
    for channel in centroids.double().unbind(-1):  # in channel order, so that every language gets equal bits
        total += channel * channel
    parts.append((0.5 * total).float().view(heads, -1).view(torch.uint8))
    return PackedCodebook(codec_of(tuple(entries.shape), scale is not None), heads, chunks * channels, torch.cat(parts, 1))
