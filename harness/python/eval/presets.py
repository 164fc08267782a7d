"""Suites of the presets, of their neighbours that differ in one axis, and of other systems.

Three ways to read: `online` is what users get: window, flush blocks, anchors chosen at each flush; the others choose anchors from the whole sequence, and keep no window, the
strictest protocol, or the newest 128 tokens of every row.
"""

from .methods import DUMP, PLAIN, RING, START, TUNING
from .recipe import other_names, preset_names

ONLINE = ("online", {}, "flush")
STRICT = ("no window", {"window": 0, "selection": "global"}, "newest")
WINDOW = ("window 128", {"window": 128, "selection": "global"}, "newest")
CODED = [name for name in preset_names() if name not in ("f16", "bf16")]
BASES = {"no basis": {"transform": "none"}, "basis": {"transform": "basis"}}


def entry(preset, words, way, method, axes=None, **more):
    """One run; `words` say what differs from the preset."""
    label, read, rule = way
    return {"name": ", ".join([preset, *words, label]), "preset": preset, "set": {**(axes or {}), **read}, "rule": rule, "method": method, **more}


def presets(records):
    """Every preset as it is, with codebooks by k-means."""
    for name in preset_names():
        yield entry(name, [], ONLINE, DUMP)
    for name in CODED:
        for way in (STRICT, WINDOW):
            yield entry(name, [], way, DUMP)


def bases(records):
    """Pairs that differ in the basis of values only; that of a dump alone (`pca`) knows no W_o."""
    for name in CODED:
        for words, axes in BASES.items():
            for way in (STRICT, WINDOW, ONLINE):
                yield entry(name, ["k-means", words], way, DUMP, axes)
        for way in (STRICT, WINDOW):
            yield entry(name, ["k-means", "pca"], way, DUMP, BASES["basis"], value_basis="pca")


def weights(records):
    """The presets with codebooks whose tokens count alike, or less unlike than anchor scores say."""
    for name in CODED:
        for words, method in (("no weights", {"weights": "none"}), ("w^0.5", {"power": 0.5})):
            for way in (STRICT, WINDOW, ONLINE):
                yield entry(name, [words], way, {**DUMP, **method})


def tuned_pairs(names, axes=None, words=()):
    """Tuned centroids, with and without a basis; both share nothing, and are read in all ways."""
    for name in names:
        for label, basis in reversed(BASES.items()):
            for way in (STRICT, WINDOW, ONLINE):
                yield entry(name, ["tuned", *words, label], way, START, {**(axes or {}), **basis}, tuning=TUNING)


def tuned_presets(records):
    """All presets with codes of 8 bits, tuned."""
    yield from tuned_pairs(name for name in CODED if name not in ("antkv-0.75", "antkv-0.375"))


def tuned_ring(records):
    """The presets as they are, tuned for the window that they have: what `python3 -m eval.codebooks` makes. Without a window nothing would be left exact while tuning, either."""
    for name in ("antkv-1", "antkv-0.5", "antkv-2", "antkv-1-fast", "antkv-4", "antkv-0.75", "antkv-0.375"):
        for way in (ONLINE, WINDOW):
            yield entry(name, ["tuned for its window"], way, START, tuning=RING)


def tuned_wide(records):
    """The presets with codes of 12 bits, tuned: they take three times as long."""
    yield from tuned_pairs(("antkv-0.75", "antkv-0.375"))


def q8_keys(records):
    """antkv-1 with keys in 8-bit codebooks, which a kernel may read faster: by k-means and tuned."""
    for way in (STRICT, WINDOW):
        yield entry("antkv-1", ["k-means", "K q8", "basis"], way, DUMP, {"k": "8c8bq8", "transform": "basis"})
    yield from tuned_pairs(("antkv-1",), {"k": "8c8bq8"}, ("K q8",))


def axes(records):
    """antkv-1, one axis changed at a time; codebooks by k-means."""
    for policy in ("none", "column", "mass", "massq", "exact", "saliency", "key-magnitude"):
        yield entry("antkv-1", [f"policy {policy}"], STRICT, DUMP, {"policy": policy, **({"budget_permille": 0} if policy == "none" else {})})
    for permille in (1, 5, 20, 50):
        for way in (STRICT, ONLINE):
            yield entry("antkv-1", [f"{permille / 10:g} % anchors"], way, DUMP, {"budget_permille": permille})
    for window in (32, 64):
        yield entry("antkv-1", [f"window {window}"], ONLINE, DUMP, {"window": window})
    yield entry("antkv-1", ["keys after RoPE"], STRICT, DUMP, {"key": "post"})
    yield entry("antkv-1", ["no gain"], STRICT, DUMP, {"gain": "none"})
    yield entry("antkv-1", ["4 first tokens"], ONLINE, DUMP, {"first_tokens": 4})


def systems(records):
    """Recipes of other systems, by their own ways of making codebooks: plain k-means (MILLION), weighted by sensitivity (CQ)."""
    for name in other_names():
        for way in (STRICT, WINDOW):
            yield entry(name, [], way, {**DUMP, **(PLAIN if name.startswith("million") else {}), "start": "plusplus", "iterations": 25})
