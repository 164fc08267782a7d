"""Lists of runs, as JSON: what the measured table of the design was made of, the presets, other systems, and the search for better recipes.

A suite is a function of the records so far; most do not look at them.
"""

from . import allocate, presets
from .methods import BETTER, PLAIN, START, TUNING, WEIGHTED

STRICT = {"key": "pre", "selection": "global", "window": 0}
NONE = {"policy": "none", "budget_permille": 0}


def run(name, k, v=None, method=PLAIN, rule="newest", on="validation", more=None, **axes):
    return {"name": name, "recipe": {**STRICT, "k": k, "v": v or k, **axes}, "method": method, "rule": rule, "on": on, **(more or {})}


def plain(name, k, v=None, **axes):
    return run(name, k, v, **{**NONE, **axes})


def anchored(name, k, v=None, **axes):
    return run(name, k, v, **{"policy": "exact", "budget_permille": 10, "method": WEIGHTED, **axes})


def measured(records):
    """The tables of perplexity that this project starts from."""
    yield plain("1 bit", "8c8b")
    yield plain("1 bit, k-means++", "8c8b", method={**PLAIN, "start": "plusplus"})
    yield plain("1 bit, q8", "8c8bq8")
    yield plain("1 bit, K q8", "8c8bq8", "8c8b")
    yield plain("1 bit, gain", "8c8b", gain="k")
    yield plain("1 bit, gain, q8", "8c8bq8", gain="k")
    yield anchored("1 bit, gain, 1 %", "8c8b", gain="k")
    yield anchored("1 bit, gain, 1 %, w^0.5", "8c8b", gain="k", method={**WEIGHTED, "power": 0.5})
    yield anchored("1 bit, gain, 1 %, q8", "8c8bq8", gain="k")
    yield anchored("1 bit, 1 %", "8c8b")
    yield plain("1 bit, post", "8c8b", key="post")
    yield plain("1 bit, post, q8", "8c8bq8", key="post")
    yield anchored("1 bit, post, 1 %", "8c8b", key="post")
    for window in (32, 128):
        yield plain(f"1 bit, window {window}", "8c8b", window=window)
        yield plain(f"1 bit, post, window {window}", "8c8b", window=window, key="post")
    for codec in ("2c8b", "4c8b", "8c12b", "8c10b", "16c12b", "16c8b", "32c12b"):
        yield plain(f"{codec}", codec)
        yield anchored(f"{codec}, 1 %", codec)
    for codec in ("2c8bq8", "4c8bq8", "8c10bq8", "16c12bq8", "16c8bq8", "32c12bq8"):
        yield plain(f"{codec}", codec)
    for power in (0.5, 1, 2):
        yield plain(f"1 bit, w^{power}", "8c8b", method={**WEIGHTED, "power": power})
    for permille in (20, 50, 100):
        yield anchored(f"1 bit, {permille / 10:g} %, w^0.5", "8c8b", budget_permille=permille, method={**WEIGHTED, "power": 0.5})
    for policy in ("column", "mass", "massq", "exact", "saliency", "key-magnitude"):
        yield anchored(f"1 bit, 1 % by {policy}, w^0.5", "8c8b", policy=policy, method={**WEIGHTED, "power": 0.5})
    yield anchored("K 2 bit, V 1 bit, 1 %", "4c8b", "8c8b")
    yield anchored("K 1 bit, V 2 bit, 1 %", "8c8b", "4c8b")


PROBE = {"steps": 200, "lr": 0.01}


def candidate(k, v, gain="none", permille=0, policy="column", method=None, more=None, label=""):
    """A run on the search set: a point in the space of recipes, without a window."""
    name = f"search: {k}/{v} gain {gain} {permille} permille" + (f" by {policy}" if permille else "") + (f", {label}" if label else "")
    axes = {"gain": gain, "policy": policy, "budget_permille": permille} if permille else {"gain": gain, **NONE}
    return run(name, k, v, method={**BETTER, **(method or {})}, on="search", more=more, **axes)


def probe(records):
    """Whether centroids moved by gradient are worth their time, and at which step size."""
    for lr in (0.01, 0.03, 0.003):
        yield candidate("8c8b", "8c8b", "k", more={"tuning": {**PROBE, "lr": lr}}, label=f"tuned {PROBE['steps']} at {lr}")
    yield candidate("8c8b", "8c8b", "k")


def search(records):
    """One axis at a time from 1 bit with a gain on keys, then mixtures of codecs near 1.23, 0.95 and 0.6 bits."""
    one = ("8c8b", "8c8b", "k")
    yield candidate(*one)
    for label, method in {"16 windows": {"windows": 16}, "160 windows": {"windows": 160}, "random start": {"start": "random"}, "12 iterations": {"iterations": 12}, "60 iterations": {"iterations": 60},
                          "3 restarts": {"restarts": 3}, "gain in loop": {"gain_in_loop": True}, "no weights": {"weights": "none"}, "w^0.5": {"power": 0.5}, "w^2": {"power": 2.0},
                          "column": {"weights": "column"}}.items():
        yield candidate(*one, method=method, label=label)
    for power in (0.5, 1.0, 1.5):
        yield candidate(*one, more={"key_scale": power}, label=f"key scale {power}")
    for basis in ("pca", "metric"):
        yield candidate(*one, more={"value_basis": basis}, label=f"value basis {basis}")
    yield candidate(*one, more={"key_scale": 1.0, "value_basis": "metric"}, label="both bases")
    for bits in (4, 6, 8):
        yield candidate(*one, more={"gain_bits": bits}, label=f"gain of {bits} bits")
    yield candidate("8c8b", "8c8b", "v")
    yield candidate("8c8b", "8c8b", "kv")
    for policy in ("column", "exact"):
        yield candidate(*one, permille=10, policy=policy)
    # codes + gains (1/16 bit each side that has one) + 0.016 bit per permille of anchors: just below 1.23
    for k, v, gain, permille in [("8c10b", "8c8b", "k", 2), ("8c10b", "8c8b", "none", 6), ("8c8b", "8c10b", "k", 2), ("8c10b", "16c12b", "k", 10), ("8c10b", "16c12b", "kv", 6), ("16c12b", "8c10b", "k", 10),
                                 ("8c12b", "16c12b", "k", 2), ("8c12b", "16c12b", "none", 6), ("8c12b", "16c8b", "k", 10), ("8c12b", "32c12b", "kv", 10), ("4c8b", "32c12b", "none", 2), ("8c8b", "8c8b", "kv", 6)]:
        yield candidate(k, v, gain, permille)
    # below 0.95
    for k, v, gain, permille in [("16c12b", "16c12b", "k", 7), ("16c12b", "16c12b", "kv", 4), ("8c8b", "16c12b", "k", 0), ("8c8b", "16c8b", "k", 7), ("8c10b", "16c8b", "k", 0), ("8c10b", "32c12b", "k", 4),
                                 ("8c12b", "32c12b", "none", 0), ("8c8b", "32c12b", "k", 11), ("16c12b", "8c8b", "k", 0)]:
        yield candidate(k, v, gain, permille)
    # below 0.6
    for k, v, gain, permille in [("32c12b", "32c12b", "k", 9), ("32c12b", "32c12b", "kv", 5), ("16c12b", "32c12b", "none", 2), ("16c8b", "32c12b", "k", 5), ("16c8b", "16c8b", "k", 1), ("16c12b", "32c8b", "k", 2),
                                 ("16c12b", "32c8b", "none", 5), ("8c8b", "64c12b", "none", 0), ("16c8b", "32c12b", "kv", 1)]:
        yield candidate(k, v, gain, permille)


TUNED = {"tuning": TUNING, "value_basis": "metric"}


def tuned(k, v, gain="none", permille=0, label="", **more):
    words = "tuned, metric basis" + (f", {label}" if label else "")
    return candidate(k, v, gain, permille, method=START, more={**TUNED, **more}, label=words)


def better(records):
    """What won alone (tuned centroids, a basis for values, a gain on both sides), together, at each budget of bits: what kernels have, and any."""
    yield tuned("8c10b", "16c12b", "k", 10)
    yield tuned("16c12b", "16c12b", "k", 7)
    yield tuned("32c12b", "32c12b", "k", 11)
    yield tuned("8c8bq8", "8c8bq8", "kv", 6)
    yield tuned("8c10b", "16c12b", "kv", 6)
    yield tuned("8c8bq8", "8c8bq8", "k", 10)
    yield tuned("8c8bq8", "16c8bq8", "k", 7)
    yield tuned("8c8bq8", "16c8bq8", "kv", 4)
    yield tuned("16c12b", "16c12b", "kv", 4)
    yield tuned("16c8bq8", "16c8bq8", "k", 1)
    yield tuned("32c12b", "32c12b", "kv", 5)
    yield tuned("8c8bq8", "8c8bq8", "k")
    yield tuned("8c10b", "16c8b", "k")


def more(records):
    """The next most likely."""
    yield tuned("16c12b", "32c8b", "k", 2)
    yield tuned("8c12b", "16c8b", "kv", 6)
    yield tuned("8c8b", "16c12b", "k")
    yield tuned("8c8bq8", "8c8bq8", "kv", 6, label="600 steps", tuning={"steps": 600, "lr": 0.03})
    yield tuned("8c8bq8", "8c8bq8", "kv", 6, label="at 0.1", tuning={"steps": 200, "lr": 0.1})
    yield tuned("16c8bq8", "32c12b", "kv", 1)
    yield tuned("8c8bq8", "8c8bq8", "kv", 0)
    yield tuned("8c10b", "8c8b", "k", 2)


LIMITS = (1.23, 0.95, 0.6)
OFFERED = ("f16", "2c8b", "4c8b", "8c8b", "8c10b", "16c8b", "16c12b", "32c12b")  # codecs that kernels have and this evaluation knows (generator/codec.ts)


def confirm(records):
    """On validation text, what was best on the search set at each limit of bits: two of all, and the best that kernels have: codecs that are offered, no gain on values."""
    found = sorted((r for r in records if r["run"]["on"] == "search"), key=lambda r: r["perplexity"])
    built = lambda r: all(codec.removesuffix("q8") in OFFERED and "v" not in recipe["gain"] for recipe in r["run"]["plan"] for codec in (recipe["k"], recipe["v"]))
    for limit in LIMITS:
        below = [r for r in found if r["held_bits"] <= limit]
        for record in [*below[:2], *[r for r in below if built(r)][:1]]:
            yield {**record["run"], "name": record["run"]["name"].replace("search: ", "confirmed: "), "on": "validation"}


LAYERS = 6  # of lm-a


def layers(records):
    """What each side of each layer loses under each codec, all else exact."""
    for side, menu in allocate.MENU.items():
        for codec in menu:
            for layer in range(LAYERS):
                plan = allocate.single(LAYERS, layer, side, codec)
                yield {"name": allocate.single_name(layer, side, codec), "plan": plan, "method": {**BETTER, **START}, "on": "search"}


def allocated(records):
    """Plans by those losses, tuned, beside 8c8b everywhere, which costs 1.129 bits; with gains on both sides, and on keys alone, which kernels have."""
    yield tuned("8c8b", "8c8b", "kv")
    for gain, words, limits in (("kv", "", (1.13, 0.95)), ("k", ", gain k", (1.23, 0.95))):
        for limit in limits:
            plan = allocate.plan(records, limit, LAYERS, gain)
            if plan:
                yield {"name": f"search: codecs by layer below {limit}{words}, tuned, metric basis", "plan": plan, "method": {**BETTER, **START}, "on": "search", **TUNED}


SUITES = {
    "measured": measured, "presets": presets.presets, "bases": presets.bases, "weights": presets.weights, "axes": presets.axes, "q8-keys": presets.q8_keys, "tuned-presets": presets.tuned_presets, "tuned-wide": presets.tuned_wide,
    "tuned-ring": presets.tuned_ring, "systems": presets.systems, "probe": probe, "search": search, "better": better, "more": more, "layers": layers, "allocated": allocated, "confirm": confirm,
}  # fmt: skip
