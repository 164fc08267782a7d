"""Records a model of torch modules, named as transformers names them, with record.py; holds the dump against what attention saw, and writes it to argv[1]. See eval.test.ts."""

import sys
from types import SimpleNamespace

import torch
from torch import nn

import record
import tiny
from eval import calibrate, tensors
from eval.model import Exact, norm

CONFIG = tiny.Config(**{**tiny.CONFIG.__dict__, "head_dim": 64, "theta": 500000.0})
WORDS = {"vocab_size": "vocab", "hidden_size": "hidden", "num_hidden_layers": "layers", "num_attention_heads": "q_heads", "num_key_value_heads": "kv_heads", "head_dim": "head_dim",
         "intermediate_size": "mlp", "rope_theta": "theta"}


class Norm(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        return norm(x, self.weight, 1e-5)


class Block(nn.Module):
    """self_attn of a transformers model: its projections are modules, fused or not, with norms or without."""

    def __init__(self, weights, fused, norms):
        super().__init__()
        linear = lambda weight: nn.utils.skip_init(nn.Linear, *weight.shape[::-1], bias=False)
        parts = {"qkv": torch.cat([weights[side] for side in "qkv"])} if fused else weights
        for name, weight in parts.items():
            module = linear(weight)
            module.weight = nn.Parameter(weight)
            setattr(self, f"{name}_proj", module)
        for side, weight in norms.items():
            setattr(self, f"{side}_norm", Norm(weight))


class Modules(nn.Module):
    """The tiny model, its projections called as modules."""

    def __init__(self, model, fused):
        super().__init__()
        self.tiny, w = model, model.weights
        name = lambda layer, part: f"model.layers.{layer}.self_attn.{part}.weight"
        norms = lambda layer: {side: w[name(layer, f"{side}_norm")] for side in "qk" if name(layer, f"{side}_norm") in w}
        blocks = [Block({side: w[name(layer, f"{side}_proj")] for side in "qkv"}, fused, norms(layer)) for layer in range(model.config.layers)]
        self.layers = nn.ModuleList(nn.ModuleDict({"self_attn": block}) for block in blocks)
        self.config = SimpleNamespace(to_dict=lambda: {words: getattr(model.config, short) for words, short in WORDS.items()})

    def forward(self, ids, use_cache):
        def heads(x, layer, what, count):
            y = norm_input[layer]
            block = self.layers[layer]["self_attn"]
            if hasattr(block, "qkv_proj"):
                if what == "q":
                    self.out = dict(zip("qkv", block.qkv_proj(y).split([count * 64, count * 32, count * 32], -1)))
                out = self.out[what]
            else:
                out = getattr(block, f"{what}_proj")(y)
            out = out.unflatten(-1, (count, 64))
            return (getattr(block, f"{what}_norm")(out) if hasattr(block, f"{what}_norm") else out).transpose(1, 2)

        norm_input = {}
        plain = self.tiny._heads

        def hooked(x, layer, what, count):
            norm_input[layer] = x
            return heads(x, layer, what, count)

        self.tiny._heads = hooked
        try:
            return self.tiny.hidden(ids, Exact(self.tiny.rope))
        finally:
            self.tiny._heads = plain


ids = tiny.ids(3, 40)
for fused, normed in ((False, False), (True, False), (False, True)):
    model = tiny.tiny(CONFIG)
    if normed:
        for layer in range(2):
            for side in "qk":
                model.weights[f"model.layers.{layer}.self_attn.{side}_norm.weight"] = torch.linspace(0.5, 2, 64)
    want = calibrate.record(model, ids)
    modules = Modules(model, fused)
    shape = record.shape_of(modules.config)
    dump = record.record(modules, shape, ids[:, :-1], [0, 1])
    for layer in range(2):
        assert torch.allclose(dump[f"layers.{layer}.k_pre_rope"].float(), want.k[layer], atol=2e-3, rtol=2e-3), (fused, normed, layer)
        assert torch.allclose(dump[f"layers.{layer}.v"].float(), want.v[layer], atol=2e-3, rtol=2e-3)
        seen = {}
        def spy(at, q, k, v):
            seen[at] = model.rope.rotate(q)
            return Exact(model.rope)(at, q, k, v)
        model.hidden(ids[1:2, :-1], spy)
        assert torch.allclose(dump[f"layers.{layer}.q"][:, 40:80].float(), seen[layer][0], atol=4e-3, rtol=4e-3)
    if not fused and not normed:
        tensors.write(sys.argv[1], dump, record.metadata_of("tiny", shape, 40))


def refused(call):
    try:
        call()
    except record.Unfit as error:
        return str(error)


whole = modules.config.to_dict()
config = lambda **members: SimpleNamespace(to_dict=lambda: {**whole, **members})
print(refused(lambda: record.record(modules, shape, ids, [7])))
print(refused(lambda: record.attentions(nn.Linear(2, 2))))
print(refused(lambda: record.shape_of(config(partial_rotary_factor=0.5))))
print(refused(lambda: record.shape_of(config(rope_scaling={"rope_type": "yarn"}))))
