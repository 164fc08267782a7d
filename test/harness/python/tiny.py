"""A LLaMA-like model of two layers with random weights, small enough for loops to follow, and texts for it."""

import torch

from eval.model import Config, Model

CONFIG = Config(vocab=50, hidden=32, layers=2, q_heads=4, kv_heads=2, head_dim=16, mlp=48)


def tiny(config=CONFIG, seed=0):
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g) * shape[-1] ** -0.5
    c, q, kv = config, config.q_heads * config.head_dim, config.kv_heads * config.head_dim
    weights = {"model.embed_tokens.weight": torch.randn(c.vocab, c.hidden, generator=g), "model.norm.weight": torch.ones(c.hidden), "lm_head.weight": normal(c.vocab, c.hidden)}
    for layer in range(c.layers):
        name = f"model.layers.{layer}"
        shapes = {"self_attn.q_proj": (q, c.hidden), "self_attn.k_proj": (kv, c.hidden), "self_attn.v_proj": (kv, c.hidden), "self_attn.o_proj": (c.hidden, q),
                  "mlp.gate_proj": (c.mlp, c.hidden), "mlp.up_proj": (c.mlp, c.hidden), "mlp.down_proj": (c.hidden, c.mlp)}
        weights.update({f"{name}.{part}.weight": 2 * normal(*shape) for part, shape in shapes.items()})
        weights.update({f"{name}.{part}.weight": torch.ones(c.hidden) for part in ("input_layernorm", "post_attention_layernorm")})
    return Model(weights, config, name="tiny")


def ids(windows, tokens, seed=1):
    """[windows, tokens + 1]"""
    return torch.randint(CONFIG.vocab, (windows, tokens + 1), generator=torch.Generator().manual_seed(seed))


def rows(batch, heads, tokens, d, seed=2):
    return torch.randn(batch, heads, tokens, d, generator=torch.Generator().manual_seed(seed))
