"""What a cache keeps on the device for one layer."""

from dataclasses import dataclass
from typing import Mapping, Optional

from torch import Tensor

from .basis import Basis


@dataclass
class Layer:
    """Device arrays of one layer; None where the recipe has no such thing."""

    contracts: Mapping[str, str]  # by op: those that depend on the recipe of the layer
    pages: Tensor  # [pages, kv_heads, bytes] uint8
    k_codebook: Optional[Tensor]  # [kv_heads, bytes] uint8
    v_codebook: Optional[Tensor]
    basis: Basis
    anchors: Optional[Tensor] = None  # [anchor pages, kv_heads, bytes] uint8
    anchor_score: Optional[Tensor] = None  # [slots, kv_heads, max_anchor_pages * 16] fp32
    ring_k: Optional[Tensor] = None  # [slots, kv_heads, ring_rows, d]
    ring_v: Optional[Tensor] = None
    ring_score: Optional[Tensor] = None  # [slots, kv_heads, ring_rows] fp32
    ring_count: Optional[Tensor] = None  # the same, int32
    lse: Optional[Tensor] = None  # [rows, q_heads] of the last decode
    ring_scores: Optional[Tensor] = None  # [rows, q_heads, ring_rows] of the last decode
