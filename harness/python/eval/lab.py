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
    the keys' scales (fold.py); value_basis: none, `pca` or `metric`; recipes whose transform is `basis` have `metric` unless told. tuning: None keeps the centroids of k-means."""

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

    @property
    def basis(self):
        return "metric" if self.value_basis == "none" and any(recipe.transform == "basis" for recipe in self.plan) else self.value_basis

    def json(self):
        return {**{k: v for k, v in asdict(self).items() if k != "plan"}, "value_basis": self.basis, "plan": [recipe.json() for recipe in self.plan]}


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

    def recording(self, key, model, windows, tokens):
        """Rows of the first windows of the calibration text; `key` names the model."""
        ids = protocol.cut(self.calibration, windows, tokens, spread=False)
        return self.once(("recording", key, windows, tokens), lambda: calibrate.record(model, ids))

    def prepared(self, run):
        """The model with the run's bases folded in. run.plan has a recipe for each layer."""
        if run.key_scale == 0 and run.basis == "none":
            return self.model

        def make():
            scales = fold.key_scales(self.plain(), run.key_scale) if run.key_scale else None
            return fold.folded(self.model, scales, self.bases(run))

        return self.once(("model", run.key_scale, run.basis, self.chunks(run)), make)

    def plain(self):
        """What bases and scales are found from."""
        return self.recording((0.0, "none", None), self.model, **protocol.CALIBRATION)

    def chunks(self, run):
        """Codes of a value in each layer, where its basis depends on them."""
        return None if run.basis == "none" else tuple(self.model.config.head_dim // max(Codec.parse(recipe.v).channels, 1) for recipe in run.plan)

    def bases(self, run):
        """(T, T^-1) of the values, each [layers, kv_heads, d, d]; None where the run has none. run.plan has a recipe for each layer."""
        if run.basis == "none":
            return None
        return self.once(("bases", run.basis, self.chunks(run)), lambda: fold.value_bases(self.plain(), self.model, self.chunks(run), run.basis == "metric"))

    def recorded(self, run, model):
        """What the run's codebooks are made of, on its prepared model."""
        return self.recording((run.key_scale, run.basis, self.chunks(run)), model, run.method.windows, run.method.tokens)

    def books(self, run, model):
        """One (k, v) per layer, as kernels will read them. Keys do not depend on the values' basis, nor values on scales of keys, but for tiny differences in rounding."""
        method, pairs = run.method, []
        for layer, recipe in enumerate(run.plan):
            bases = {"k": (run.key_scale, "none", None), "v": (0.0, run.basis, self.chunks(run))}
            sides = {"k": (recipe.k, recipe.key, recipe.gain_on("k")), "v": (recipe.v, "pre", recipe.gain_on("v"))}
            make = lambda s: lambda: calibrate.codebooks(self.recorded(run, model), s, sides[s][0], sides[s][1], method, sides[s][2])
            made = {s: self.once((s, bases[s], method, *sides[s]), make(s)) for s in sides}
            pairs.append(tuple(None if made[s] is None else made[s][layer] for s in "kv"))
        return pairs

    def attention(self, run):
        """The run's back end and its model; tuning done, anchors chosen globally there."""
        run = replace(run, plan=run.plan if len(run.plan) > 1 else run.plan * self.model.config.layers)
        model = self.prepared(run)
        books = self.books(run, model)
        if run.tuning:
            bare = tuple(recipe.set(window=recipe.window if run.tuning.ring else 0, selection="global") if recipe.coded else recipe for recipe in run.plan)
            say = lambda step, loss: self.log(f"  {run.name}: step {step}, KL {loss:.4f}")
            how = ("tuned", run.key_scale, run.basis, bare, run.method, run.gain_bits, run.tuning)
            books = self.once(how, lambda: tuned(model, bare, books, self.calibration, run.tuning, say))
        return Simulated(model.rope, run.plan, books, run.rule, run.gain_bits), model

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
