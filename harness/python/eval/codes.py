"""Vector quantisation of head vectors: nearest centroids, what they decode to, gains."""

import torch

BLOCK = 1 << 28  # distances that are held at once


def nearest(x, centroids, want_loss=False):
    """Codes of x [problems, rows, channels] by centroids [problems, entries, channels], ties by the lower code: [problems, rows] int64; with |x - c|^2 / 2 if wanted."""
    half = centroids.square().sum(-1).div(2).unsqueeze(1)
    rows = max(1, BLOCK // (half.shape[0] * half.shape[2]))
    best = [torch.baddbmm(half, part, centroids.transpose(1, 2), alpha=-1).min(-1) for part in x.split(rows, 1)]
    codes = torch.cat([b.indices for b in best], 1)
    if not want_loss:
        return codes
    return codes, (torch.cat([b.values for b in best], 1) + x.square().sum(-1) / 2).clamp_min_(0)


def looked_up(codes, centroids):
    """[problems, rows, channels]"""
    return centroids.gather(1, codes.unsqueeze(-1).expand(-1, -1, centroids.shape[2]))


def split(x, channels):
    """Head vectors [batch, kv_heads, tokens, d] as problems [kv_heads * chunks, batch * tokens, channels]."""
    batch, heads, tokens, d = x.shape
    return x.view(batch, heads, tokens, -1, channels).permute(1, 3, 0, 2, 4).reshape(heads * (d // channels), batch * tokens, channels)


def joined(problems, shape):
    """The inverse of split; `shape` is that of x."""
    batch, heads, tokens, d = shape
    return problems.view(heads, -1, batch, tokens, problems.shape[2]).permute(2, 0, 3, 1, 4).reshape(shape)


def decoded(x, codebook):
    """x [batch, kv_heads, tokens, d] through codebook [kv_heads, chunks, entries, channels]. Gradients reach the centroids that were chosen."""
    centroids = codebook.flatten(0, 1)
    problems = split(x.detach(), codebook.shape[3])
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        codes = nearest(problems, centroids)
    return joined(looked_up(codes, centroids), x.shape)


def gain(x, x_hat, bits=16):
    """One factor per token and head that gives x_hat the norm of x, as `encode` stores it: fp16, or `bits` < 16 bits of its logarithm over 2^-2 ... 2^2. [..., tokens, 1]"""
    size = x_hat.norm(dim=-1, keepdim=True)
    factor = torch.where(size > 0, x.norm(dim=-1, keepdim=True) / size.clamp_min(1e-30), torch.ones_like(size))
    rounded = factor.detach().half().float()
    if bits < 16:
        steps = (2**bits - 1) / 4
        rounded = 2 ** (((factor.detach().clamp_min(2.0**-2).log2().clamp(-2, 2) + 2) * steps).round() / steps - 2)
    return factor + (rounded - factor.detach())


def stored(centroids, q8):
    """Centroids [..., entries, channels] as kernels read them: halves, or int8 steps of max|c| / 127 per channel."""
    if not q8:
        return centroids.half().float()
    steps, scale = int8(centroids)
    return steps * scale


def int8(centroids):
    """(steps [..., entries, channels], scale [..., 1, channels]), as tuner/calibrate/round.ts."""
    scale = centroids.abs().amax(-2, keepdim=True) / 127
    scale = torch.where(scale < 2.0**-120, torch.ones_like(scale), scale)
    return torch.floor(centroids / scale + 0.5).clamp_(-127, 127), scale
