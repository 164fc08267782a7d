"""The forward pass of LLaMA-like models in fp32, with attention left to a back end.

A back end is any callable with the signature of Attention. It gets queries and keys before RoPE, because where keys are coded is its own business.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F

from . import tensors


class Attention(Protocol):
    """What a model calls once per layer.

    q [batch, q_heads, tokens, d], k and v [batch, kv_heads, tokens, d]: fp32, queries and keys before RoPE; token i of each row stands at position i and sees tokens 0 ... i.
    Query head h belongs to KV head h // (q_heads // kv_heads). Returns o [batch, q_heads, tokens, d], fp32.
    """

    def __call__(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True)
class Config:
    """Shape of a model; `theta` and `scaling` (as `rope_scaling` of transformers has it) describe RoPE with half-split pairs."""

    vocab: int
    hidden: int
    layers: int
    q_heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    theta: float = 10000.0
    eps: float = 1e-5
    scaling: dict | None = None

    @staticmethod
    def parse(json_object):
        """From a transformers config.json, or from the short names of this class. Raises ValueError on RoPE that is not known here."""
        c = json_object
        if "hidden_size" not in c:
            return Config(**c)
        heads = c["num_attention_heads"]
        scaling = c.get("rope_scaling")
        if scaling and scaling.get("rope_type", scaling.get("type")) not in ("default", "llama3"):
            raise ValueError(f"rope_scaling {scaling}: only llama3 is known here")
        return Config(c["vocab_size"], c["hidden_size"], c["num_hidden_layers"], heads, c.get("num_key_value_heads", heads), c.get("head_dim") or c["hidden_size"] // heads,
                      c["intermediate_size"], c.get("rope_theta", 10000.0), c.get("rms_norm_eps", 1e-5), scaling)


class Rope:
    """Rotation of half-split pairs (i, i + d/2) by position * inv_freq[i]; cosines and sines are made in double and kept in fp32."""

    def __init__(self, config, device):
        d = config.head_dim
        inv_freq = config.theta ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
        s = config.scaling
        if s and s.get("rope_type", s.get("type")) == "llama3":
            turns = s["original_max_position_embeddings"] * inv_freq / (2 * torch.pi)
            smooth = ((turns - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])).clamp(0, 1)
            inv_freq = inv_freq * (smooth + (1 - smooth) / s["factor"])
        self.inv_freq = inv_freq.float().to(device)
        self._table = None

    def table(self, tokens):
        """cos, sin [tokens, d/2]"""
        if self._table is None or len(self._table[0]) < tokens:
            phase = torch.arange(tokens, dtype=torch.float64).outer(self.inv_freq.double().cpu())
            self._table = phase.cos().float().to(self.inv_freq.device), phase.sin().float().to(self.inv_freq.device)
        return self._table[0][:tokens], self._table[1][:tokens]

    def rotate(self, x):
        """x [..., tokens, d], token i at position i."""
        cos, sin = self.table(x.shape[-2])
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attend(q, k, v, first=0):
    """Attention of rows at positions first, first + 1 ... that see the keys up to their own: q [batch, q_heads, rows, d], k and v [batch, kv_heads, keys, d] -> like q."""
    scores = scores_of(q, k, first)
    return grouped(scores.softmax(-1), v)


def scores_of(q, k, first=0):
    """Scaled scores, -inf where a key lies behind its row: [batch, q_heads, rows, keys]."""
    batch, heads, rows, d = q.shape
    scores = (q.reshape(batch, k.shape[1], -1, d) * d**-0.5) @ k.transpose(-1, -2)
    unseen = torch.ones(rows, k.shape[2], dtype=torch.bool, device=q.device).triu(1 + first)
    return scores.view(batch, heads, rows, -1).masked_fill_(unseen, -torch.inf)


def grouped(p, x):
    """p [batch, q_heads, rows, keys] times x [batch, kv_heads, keys, d]; each KV head serves the query heads of its group."""
    batch, heads, rows, keys = p.shape
    return (p.reshape(batch, x.shape[1], -1, keys) @ x).view(batch, heads, rows, -1)


class Exact:
    """Attention over the exact cache in fp32, `rows` rows at a time: the baseline."""

    def __init__(self, rope, rows=512):
        self.rope, self.rows = rope, rows

    def __call__(self, layer, q, k, v):
        q, k = self.rope.rotate(q), self.rope.rotate(k)
        blocks = [(first, min(first + self.rows, q.shape[2])) for first in range(0, q.shape[2], self.rows)]
        return torch.cat([attend(q[:, :, first:end], k[:, :, :end], v[:, :, :end], first) for first, end in blocks], 2)


def norm(x, weight, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


class Model:
    """Weights by the names that LLaMA checkpoints have, in fp32 on `device`. Biases and norms of queries and keys are used where they are there."""

    def __init__(self, weights, config, device="cpu", name="unknown"):
        self.config, self.name, self.device = config, name, device
        self.weights = {key: value.to(device, torch.float32) for key, value in weights.items()}
        self.rope = Rope(config, device)

    @staticmethod
    def load(path, config=None, device="cpu"):
        """From a folder of safetensors files; the config is JSON in `config`, config.json, or the files' own metadata. Raises FileNotFoundError, ValueError."""
        folder, weights, metadata = Path(path), {}, {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise FileNotFoundError(f"{folder} holds no *.safetensors files")
        for file in files:
            part, metadata = tensors.read(file)
            weights.update(part)
        if config is None and (folder / "config.json").exists():
            config = folder / "config.json"
        if config is None and "config" not in metadata:
            raise ValueError(f"{folder} has no config.json, and its files do not describe the model; give --config FILE")
        return Model(weights, Config.parse(json.loads(Path(config).read_text() if config else metadata["config"])), device, folder.name)

    def _linear(self, x, name):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def _heads(self, x, layer, what, heads):
        """[batch, heads, tokens, d] of `q`, `k` or `v`, before RoPE."""
        name = f"model.layers.{layer}.self_attn.{what}"
        y = self._linear(x, f"{name}_proj").unflatten(-1, (heads, self.config.head_dim))
        weight = self.weights.get(f"{name}_norm.weight")
        return (y if weight is None else norm(y, weight, self.config.eps)).transpose(1, 2)

    def hidden(self, ids, attention):
        """Last hidden states, normed: ids [batch, tokens] -> [batch, tokens, hidden]."""
        c, w = self.config, self.weights
        x = F.embedding(ids, w["model.embed_tokens.weight"])
        for layer in range(c.layers):
            name = f"model.layers.{layer}"
            y = norm(x, w[f"{name}.input_layernorm.weight"], c.eps)
            o = attention(layer, self._heads(y, layer, "q", c.q_heads), self._heads(y, layer, "k", c.kv_heads), self._heads(y, layer, "v", c.kv_heads))
            x = x + self._linear(o.transpose(1, 2).flatten(2), f"{name}.self_attn.o_proj")
            y = norm(x, w[f"{name}.post_attention_layernorm.weight"], c.eps)
            x = x + self._linear(F.silu(self._linear(y, f"{name}.mlp.gate_proj")) * self._linear(y, f"{name}.mlp.up_proj"), f"{name}.mlp.down_proj")
        return norm(x, w["model.norm.weight"], c.eps)

    def logits(self, hidden):
        return F.linear(hidden, self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"]))

    def loss(self, ids, attention, rows=4096):
        """Cross-entropy of each target, in nats: ids [batch, tokens + 1] -> [batch, tokens]; `rows` of logits are held at a time."""
        hidden, targets = self.hidden(ids[:, :-1], attention).flatten(0, 1), ids[:, 1:].flatten()
        parts = [F.cross_entropy(self.logits(h), t, reduction="none") for h, t in zip(hidden.split(rows), targets.split(rows))]
        return torch.cat(parts).view(len(ids), -1)
