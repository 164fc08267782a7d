"""Runs: a recipe, how its codebooks are made, and what is read; each becomes one record."""

import time
from dataclasses import asdict, dataclass, replace

import torch

from . import calibrate, fold, protocol
from .calibrate import Method
from .model import Exact
from .recipe import USUAL_TOKENS, Codec, Recipe
from .simulate import Simulated
from .tune import Tuning, tuned

SEARCH_TOKENS = 40000  # at the end of the calibration text: no codebook is made from them


@dataclass(frozen=True)
class Run:
    """plan: one recipe per layer, or one for all. rule: `newest` or `flush` (simulate.py). on: `validation`, or `search`, the end of the calibration text. key_scale: power of
    the keys' scales (fold.py); value_basis: none, `pca` or `metric`. tuning: None keeps the centroids of k-means."""

    name: str
    plan: tuple
    rule: str = "newest"
    on: str = "validation"
    method: Method = Method()
    gain_bits: int = 16
    key_scale: float = 0.0
    value_basis: str = "none"
    tuning: Tuning | None = None

    @staticmethod
    def parse(spec):
        """From JSON: "plan" is a list of recipes, or "recipe" or "preset" one for all layers, changed by "set"; the other members as above. Raises ValueError, TypeError."""
        spec = dict(spec)
        axes = spec.pop("set", {})
        given = spec.pop("plan", None) or [spec.pop("recipe", None) or Recipe.named(spec.pop("preset")).json()]
        spec["plan"] = tuple(Recipe.parse(members).set(**axes) for members in given)
        for name, kind in (("method", Method), ("tuning", Tuning)):
            if isinstance(spec.get(name), dict):
                spec[name] = kind(**spec[name])
        return Run(**spec)

    def json(self):
        return {**{k: v for k, v in asdict(self).items() if k != "plan"}, "plan": [recipe.json() for recipe in self.plan]}


class Lab:
    """A model and its texts. Recordings and codebooks are kept, so that runs that share them are cheap."""

    def __init__(self, model, calibration, validation, log=lambda text: None):
        self.model, self.log, self.kept = model, log, {}
        self.calibration, self.search = calibration[:-SEARCH_TOKENS], calibration[-SEARCH_TOKENS:]
        self.texts = {"validation": protocol.cut(validation, **protocol.EVALUATION), "search": protocol.cut(self.search, **protocol.EVALUATION)}

    def once(self, key, make):
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def recording(self, key, model, windows):
        """Rows of the first windows of the calibration text; `key` names the model."""
        ids = protocol.cut(self.calibration, windows, protocol.CALIBRATION["tokens"], spread=False)
        return self.once(("recording", key, windows), lambda: calibrate.record(model, ids))

    def prepared(self, run):
        """The model with the run's bases folded in."""
        chunks = self.model.config.head_dim // Codec.parse(run.plan[0].v).channels if run.value_basis != "none" else 0
        key = ("model", run.key_scale, run.value_basis, chunks)
        if run.key_scale == 0 and run.value_basis == "none":
            return key, self.model

        def make():
            recording = self.recording(("model", 0.0, "none", 0), self.model, protocol.CALIBRATION["windows"])
            scales = fold.key_scales(recording, run.key_scale) if run.key_scale else None
            bases = fold.value_bases(recording, self.model, chunks, run.value_basis == "metric") if chunks else None
            return fold.folded(self.model, scales, bases)

        return key, self.once(key, make)

    def books(self, run, key, model):
        """One (k, v) per layer, as kernels will read them."""
        method, windows = run.method, run.method.windows
        recording = lambda: self.recording(key, model, windows)
        pairs = []
        for layer, recipe in enumerate(run.plan):
            sides = {"k": (recipe.k, recipe.key, recipe.gain_on("k")), "v": (recipe.v, "pre", recipe.gain_on("v"))}
            made = {s: self.once((s, key, method, *how), lambda s=s, how=how: calibrate.codebooks(recording(), s, how[0], how[1], method, how[2])) for s, how in sides.items()}
            pairs.append(tuple(None if made[s] is None else made[s][layer] for s in "kv"))
        return pairs

    def attention(self, run):
        """The run's back end and its model; tuning done."""
        plan = run.plan if len(run.plan) > 1 else run.plan * self.model.config.layers
        run = replace(run, plan=plan)
        key, model = self.prepared(run)
        books = self.books(run, key, model)
        if run.tuning:
            how = ("tuned", key, plan, run.method, run.gain_bits, run.tuning)
            say = lambda step, loss: self.log(f"  {run.name}: step {step}, KL {loss:.4f}")
            books = self.once(how, lambda: tuned(model, plan, books, self.calibration, run.tuning, say))
        return Simulated(model.rope, plan, books, run.rule, run.gain_bits), model

    def exact(self, on):
        return self.once(("exact", on), lambda: protocol.perplexity(self.model, Exact(self.model.rope), self.texts[on]))

    def measure(self, run):
        """The record of one run."""
        begin = time.time()
        attention, model = self.attention(run)
        made = time.time()
        found = protocol.perplexity(model, attention, self.texts[run.on])
        c, exact = self.model.config, self.exact(run.on)
        plan = attention.plan
        return {
            "record": "perplexity", "schema": 1, "model": self.model.name, "run": run.json(), "perplexity": found, "exact": exact, "increase": found - exact,
            "bits": sum(recipe.bits(c.head_dim) for recipe in plan) / len(plan), "bits_at": USUAL_TOKENS, "held_bits": attention.held_bits,
            "codebook_bytes": c.kv_heads * sum(recipe.codebook_bytes(c.head_dim) for recipe in plan),
            "windows": list(self.texts[run.on][:, 1:].shape), "codebook_seconds": round(made - begin, 2), "seconds": round(time.time() - made, 2),
            "device": torch.cuda.get_device_name() if torch.device(self.model.device).type == "cuda" else "cpu", "torch": torch.__version__, "source": "simulation, fp32",
        }
