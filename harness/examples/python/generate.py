"""Greedy text from a LLaMA-like checkpoint over a coded cache: tokens per second, bytes per sequence, and how far the text follows that of the first preset given.

    cd harness/python && python3 ../examples/python/generate.py --model DIR --ids tokens.npy --calibration calib.npy --preset f16 --preset antkv-1 --batch 4

Prompts are pieces of --ids, a file of token ids. Codebooks come from --codebooks (gen calibrate), or are made here from the ids in --calibration; --plan takes a codebook file by its own
recipes, one per layer (eval.codebooks --budget). Steps are replayed from a CUDA graph."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

import torch
import torch.nn.functional as F
from antkv import read_codebooks, read_recipe
from antkv.cache import Cache
from antkv.prefill import causal_attention
from eval.kernels import packed
from eval.lab import Lab, Run
from eval.model import Model, norm
from eval.protocol import read_ids
from eval.recipe import Recipe


class Llama:
    """The forward pass of rows that stand anywhere: ids, positions [rows]; attend(layer, q, k, v) gets rows after RoPE, [rows, heads, d] fp16."""

    def __init__(self, model, dtype, max_tokens):
        self.config, self.weights = model.config, {name: weight.to(dtype) for name, weight in model.weights.items()}
        self.cos, self.sin = (table.to(dtype) for table in model.rope.table(max_tokens))

    def linear(self, x, name):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def heads(self, x, name, count, positions=None):
        x = self.linear(x, f"{name}_proj").view(len(x), count, self.config.head_dim)
        if f"{name}_norm.weight" in self.weights:
            x = norm(x, self.weights[f"{name}_norm.weight"], self.config.eps)
        if positions is None:
            return x.half()
        cos, sin, (a, b) = self.cos[positions, None], self.sin[positions, None], x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).half()

    def __call__(self, ids, positions, attend):
        """Logits [rows, vocab]."""
        c, w = self.config, self.weights
        x = w["model.embed_tokens.weight"][ids]
        for layer in range(c.layers):
            at = f"model.layers.{layer}"
            y = norm(x, w[f"{at}.input_layernorm.weight"], c.eps)
            q, k = (self.heads(y, f"{at}.self_attn.{side}", count, positions) for side, count in (("q", c.q_heads), ("k", c.kv_heads)))
            o = attend(layer, q, k, self.heads(y, f"{at}.self_attn.v", c.kv_heads))
            x = x + self.linear(o.to(x.dtype).flatten(1), f"{at}.self_attn.o_proj")
            y = norm(x, w[f"{at}.post_attention_layernorm.weight"], c.eps)
            x = x + self.linear(F.silu(self.linear(y, f"{at}.mlp.gate_proj")) * self.linear(y, f"{at}.mlp.up_proj"), f"{at}.mlp.down_proj")
        return F.linear(norm(x, w["model.norm.weight"], c.eps), w.get("lm_head.weight", w["model.embed_tokens.weight"]))


def prefilled(llama, cache, prompt):
    """A new sequence that holds `prompt` [tokens]; its number, and the token that follows."""
    number = cache.start(len(prompt))

    def attend(layer, q, k, v):
        lse, o = causal_attention(q, k, v, cache.scale)
        cache.prefill(layer, number, q, k, v, lse)
        return o

    logits = llama(prompt, torch.arange(len(prompt), device=prompt.device), attend)
    return number, logits[-1].argmax()


class Steps:
    """Decodes all sequences by one token at a time; from the third step on out of a graph, where there is a GPU."""

    def __init__(self, llama, cache, numbers, ids, position):
        self.llama, self.cache, self.numbers, self.ids = llama, cache, numbers, ids
        self.positions = torch.full_like(ids, position)
        self.graph, self.done = None, 0

    def launch(self):
        self.ids.copy_(self.llama(self.ids, self.positions, self.cache.attend).argmax(-1))
        self.positions += 1

    def step(self):
        """The next ids [sequences]."""
        self.cache.step(self.numbers)
        self.done += 1
        if self.graph is None and self.done == 3 and self.ids.is_cuda:
            torch.cuda.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.launch()
        self.graph.replay() if self.graph else self.launch()
        return self.ids.clone()


def generate(llama, cache, prompts, tokens):
    """prompts [sequences, tokens] -> ids [sequences, tokens], tokens per second once the graph is there, bytes of a sequence."""
    numbers, following = zip(*(prefilled(llama, cache, prompt) for prompt in prompts))
    steps, out = Steps(llama, cache, list(numbers), torch.stack(following), prompts.shape[1]), []
    for i in range(tokens):
        if i == 4:
            out[-1].cpu()  # waits
            begin = time.perf_counter()
        out.append(steps.step())
    out[-1].cpu()
    seconds = time.perf_counter() - begin
    return torch.stack(out, 1), len(prompts) * (tokens - 4) / seconds, cache.bytes(numbers[0])


def codebooks(args, lab, preset):
    if not Recipe.named(preset).coded:
        return {}
    if args.codebooks:
        return read_codebooks(args.codebooks)
    run = Run.parse({"name": preset, "preset": preset, "method": {"weights": "exact", "start": "plusplus"}})
    recipe, whole = run.plan[0], Run(preset, run.plan * lab.model.config.layers, method=run.method)
    books, bases = lab.books(whole, lab.prepared(whole)), lab.bases(whole)
    made = {layer: {side: packed(book, codec) for side, book, codec in zip("kv", pair, (recipe.k, recipe.v)) if book is not None} for layer, pair in enumerate(books)}
    for layer in made if bases else ():
        made[layer]["v"] = replace(made[layer]["v"], basis=tuple(matrices[layer] for matrices in bases))
    return made


def contenders(args, lab):
    """(name, recipe or recipes by layer, codebooks) of what was asked for."""
    for preset in args.preset:
        yield preset, preset, codebooks(args, lab, preset)
    for path in args.plan:
        yield Path(path).stem, read_recipe(path), read_codebooks(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--config")
    parser.add_argument("--ids", required=True)
    parser.add_argument("--calibration")
    parser.add_argument("--codebooks")
    parser.add_argument("--preset", action="append", default=[])
    parser.add_argument("--plan", action="append", default=[], metavar="FILE")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=1024, help="tokens")
    parser.add_argument("--tokens", type=int, default=256, help="to generate")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    if not args.preset + args.plan:
        parser.error("--preset or --plan: at least one")
    if args.tokens < 6:
        parser.error("--tokens: at least 6; the first four are not timed")
    model, ids = Model.load(args.model, args.config, args.device), read_ids(args.ids)
    lab = Lab(model, read_ids(args.calibration), ids) if args.calibration else None
    c, most = model.config, args.prompt + args.tokens
    llama = Llama(model, torch.float16 if args.device != "cpu" else torch.float32, most)
    prompts = ids[: args.batch * args.prompt].view(args.batch, args.prompt).to(args.device)
    first = None
    for name, recipe, books in contenders(args, lab):
        cache = Cache(recipe, books, layers=c.layers, q_heads=c.q_heads, kv_heads=c.kv_heads, head_dim=c.head_dim, max_sequences=args.batch, max_tokens=most, inv_freq=model.rope.inv_freq, device=args.device)
        with torch.no_grad():
            made, rate, held = generate(llama, cache, prompts, args.tokens)
        first, base = (made, name) if first is None else (first, base)
        equal = (made == first).long().cumprod(1).sum(1).float().mean()
        print(f"{name:14} {rate:8.0f} tokens/s, {held / most:7.1f} bytes per token and sequence, first {equal:.0f} of {args.tokens} tokens as {base}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
