"""The ops as torch.ops.antkv.*: eager.py's functions, registered with torch, with fakes, so that code around them compiles.

What an op writes has no default: None says that it is not wanted (torch drops defaults from calls, and then looks for what was written)."""

import torch

try:
    from torch.library import custom_op
except ImportError:
    raise ImportError(f"antkv.ops needs torch 2.4 or newer, this is {torch.__version__}; antkv.Library works without") from None

from . import eager
from .launch import library, use

__all__ = ["append", "combine", "decode", "encode", "kmeans", "library", "score", "select", "unpack", "use"]

encode = custom_op("antkv::encode", mutates_args=("pages", "anchors", "anchor_score"))(eager.encode)
append = custom_op("antkv::append", mutates_args=("pages", "anchors", "ring_k", "ring_v", "ring_score", "ring_count", "anchor_score"))(eager.append)
decode = custom_op("antkv::decode", mutates_args=("lse", "ring_scores"))(eager.decode)
combine = custom_op("antkv::combine", mutates_args=("lse", "ring_scores"))(eager.combine)
score = custom_op("antkv::score", mutates_args=("scores",))(eager.score)
select = custom_op("antkv::select", mutates_args=("keep_bitmap", "keep_indices", "keep_count"))(eager.select)
kmeans = custom_op("antkv::kmeans", mutates_args=("centroids",))(eager.kmeans)
unpack = custom_op("antkv::unpack", mutates_args=("k", "v"))(eager.unpack)


@decode.register_fake
def _(contract, q, *_, **__):
    return torch.empty_like(q, memory_format=torch.contiguous_format)


@combine.register_fake
def _(contract, partial_o, *_, **__):
    return partial_o.new_empty(partial_o.shape[1:], dtype=eager.dtype_of(contract))


@kmeans.register_fake
def _(contract, x, centroids, largest, weights=None, draws=None, heaviest=1.0, max_steps=25, *_, **__):
    new = lambda dtype, *shape: x.new_empty(*centroids.shape[:2], *shape, dtype=dtype)
    return new(torch.float64, max_steps + 1), new(torch.float64), new(torch.int32, 4)


for _op in (encode, append, score, select, unpack):  # they write into their arguments only
    _op.register_fake(lambda *_, **__: None)
