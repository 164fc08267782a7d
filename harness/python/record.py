"""Records keys, values and queries of a transformers model while it reads text: a K/V dump for gen calibrate, gen demo and gen simulate (generator/format.ts).

    python3 record.py --model PATH_OR_NAME --text FILE [--text FILE ...] --out dump.safetensors
    python3 record.py --model PATH --ids tokens.npy --windows 8 --tokens 4096 --layers 0,8,16 --out dump.safetensors

Keys are those before RoPE: what k_proj gives, behind k_norm where the model has one; queries are turned here. Works
for models whose attention modules are called self_attn, with q_proj, k_proj and v_proj, or one qkv_proj, and half-split RoPE over whole heads (Llama, Qwen, Mistral, Phi-3).
Needs torch; transformers only where a model is loaded.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from eval import tensors
from eval.model import Config, Rope
from eval.protocol import read_ids


class Unfit(ValueError):
    """A model whose keys cannot be recorded here, and why."""


def attentions(model):
    """{layer number: attention module}. Raises Unfit."""
    found = {}
    for name, module in model.named_modules():
        parts = name.split(".")
        if parts[-1] == "self_attn" and len(parts) > 1 and parts[-2].isdigit() and (hasattr(module, "k_proj") or hasattr(module, "qkv_proj")):
            found[int(parts[-2])] = module
    if not found:
        raise Unfit("the model has no modules layers.N.self_attn with k_proj or qkv_proj; such models cannot be recorded here")
    return found


def shape_of(config):
    """eval.model.Config of a transformers config. Raises Unfit for RoPE that only this model has."""
    config = getattr(config, "text_config", None) or config
    members = config.to_dict()
    rope = members.get("rope_scaling") or members.get("rope_parameters") or {}
    if members.get("partial_rotary_factor", rope.get("partial_rotary_factor", 1.0)) != 1.0:
        raise Unfit(f"RoPE turns a part of each head only (partial_rotary_factor {members.get('partial_rotary_factor')}): not recorded here")
    if "rope_theta" in rope:  # transformers 5 keeps theta there
        members["rope_theta"] = rope["rope_theta"]
    members["rope_scaling"] = {k: v for k, v in rope.items() if k not in ("rope_theta", "partial_rotary_factor")} or None
    try:
        return Config.parse(members)
    except (KeyError, ValueError) as error:
        raise Unfit(f"the model's config: {error}") from error


class Hooks:
    """Keeps what the attention of chosen layers saw: rows[layer][name] is a list of [heads, tokens, d] in fp16 on the CPU, one per window. A context manager."""

    def __init__(self, model, shape, layers):
        self.shape, self.handles, self.rows, modules = shape, [], {layer: {} for layer in layers}, attentions(model)
        for layer in layers:
            if layer not in modules:
                raise Unfit(f"the model has no layer {layer}; it has 0 to {max(modules)}")
            self.watch(layer, modules[layer])

    def watch(self, layer, module):
        heads = {"q": self.shape.q_heads, "k": self.shape.kv_heads, "v": self.shape.kv_heads}
        for side, count in heads.items():
            last = getattr(module, f"{side}_norm", None) or getattr(module, f"{side}_proj", None)  # a norm works on what the projection gave
            if last is not None:
                self.hook(last, lambda out, side=side, count=count: self.keep(layer, side, out, count))
        if hasattr(module, "qkv_proj"):
            self.hook(module.qkv_proj, lambda out: self.keep_all(layer, out, heads))

    def hook(self, module, take):
        """take(output) is called behind each call; it returns None, as a hook's value would replace the output."""
        self.handles.append(module.register_forward_hook(lambda _module, _inputs, out: take(out)))

    def keep_all(self, layer, out, heads):
        parts = out.split([count * self.shape.head_dim for count in heads.values()], -1)
        for (side, count), part in zip(heads.items(), parts):
            self.keep(layer, side, part, count)

    def keep(self, layer, side, out, heads):
        """out: [1, tokens, heads * d], or [1, tokens, heads, d] behind a norm."""
        rows = out[0].reshape(out.shape[1], heads, self.shape.head_dim).transpose(0, 1)
        self.rows[layer].setdefault(side, []).append(rows.half().cpu())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


@torch.no_grad()
def record(model, shape, ids, layers):
    """Tensors of a dump: the model reads each window of ids [windows, tokens] by itself. Raises Unfit; ValueError if rows do not fit halves."""
    with Hooks(model, shape, layers) as hooks:
        for window in ids:
            model(window.unsqueeze(0).to(next(model.parameters()).device), use_cache=False)
    rope, out = Rope(shape, "cpu"), {}
    for layer in layers:
        rows = hooks.rows[layer]
        missing = [side for side in "qkv" if len(rows.get(side, [])) != len(ids)]
        if missing:
            raise Unfit(f"layer {layer}: {', '.join(missing)} were not seen once per window: a projection is not called, or called twice")
        out[f"layers.{layer}.k_pre_rope"] = torch.cat(rows["k"], 1)
        out[f"layers.{layer}.v"] = torch.cat(rows["v"], 1)
        out[f"layers.{layer}.q"] = torch.cat([rope.rotate(q.float()).half() for q in rows["q"]], 1)
    bad = [name for name, tensor in out.items() if not tensor.isfinite().all()]
    if bad:
        raise ValueError(f"{', '.join(bad)}: values beyond what halves hold; dumps are fp16")
    return out


def metadata_of(name, shape, tokens):
    return {"model": name, "positions": f"token index modulo {tokens}", "rope_inv_freq": json.dumps(Rope(shape, "cpu").inv_freq.double().tolist()), "rope_pairing": "half-split"}


def load(name, device, dtype):
    """(model, tokenizer) of transformers. Exits with the reason where the package is missing."""
    try:
        import transformers
    except ImportError:
        sys.exit("record.py: transformers is not installed\n  fix: pip install transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(name, torch_dtype=getattr(torch, dtype)).to(device).eval()
    return model, lambda: transformers.AutoTokenizer.from_pretrained(name)


def windows_of(args, tokenizer):
    """[windows, tokens] ids: from --ids, or from the texts one after the other. Raises ValueError where there are too few."""
    if args.ids:
        ids = read_ids(args.ids)
    else:
        text = "\n".join(Path(file).read_text() for file in args.text)
        ids = torch.tensor(tokenizer().encode(text, add_special_tokens=False))
    if len(ids) < args.windows * args.tokens:
        raise ValueError(f"{args.windows} windows of {args.tokens} tokens need {args.windows * args.tokens}, the text has {len(ids)}")
    windows = ids[: args.windows * args.tokens].view(args.windows, args.tokens).clone()
    if args.first_id is not None:
        windows[:, 0] = args.first_id
    return windows


def options():
    p = argparse.ArgumentParser(prog="record.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="folder of a checkpoint, or a name on the Hugging Face hub")
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", action="append", help="file of text; several are read one after the other")
    source.add_argument("--ids", help=".npy of token ids instead")
    p.add_argument("--out", required=True, help="dump to write")
    p.add_argument("--windows", type=int, default=8)
    p.add_argument("--tokens", type=int, default=4096, help="tokens of a window: as long as the texts that will be read, where keys are coded after RoPE; a rotation that no window held has no centroid")
    p.add_argument("--first-id", type=int, help="token id that every window starts with, as <s>")
    p.add_argument("--layers", help="layers, with commas (default: all)")
    p.add_argument("--dtype", default="float16", choices=("float16", "bfloat16", "float32"))
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return p.parse_args()


def main():
    args = options()
    model, tokenizer = load(args.model, args.device, args.dtype)
    try:
        shape = shape_of(model.config)
        layers = [int(word) for word in args.layers.split(",")] if args.layers else sorted(attentions(model))
        out = record(model, shape, windows_of(args, tokenizer), layers)
    except (Unfit, ValueError, OSError) as error:
        sys.exit(f"record.py: {error}")
    tensors.write(args.out, out, metadata_of(Path(args.model).name, shape, args.tokens))
    print(f"{args.out}: {len(layers)} layers, {args.windows} windows of {args.tokens} tokens", file=sys.stderr)


if __name__ == "__main__":
    main()
