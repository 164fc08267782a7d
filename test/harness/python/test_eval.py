"""Tests harness/python/eval against loops over rows and keys. Needs torch; run by eval.test.ts."""

import cmath
import json
import math
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import torch
import torch.nn.functional as F

import tiny
from antkv.basis import Basis, basis_of
from antkv.errors import ArgumentError
from antkv.pack import PackedCodebook, read_codebooks, read_recipe
from eval import calibrate, codebooks, codes, fold, kmeans, protocol, scores, tensors
from eval.lab import Lab, Run
from eval.model import Config, Exact, Rope
from eval.recipe import Recipe
from eval.simulate import Simulated
from eval.tune import Fast, Trained, Tuning, divergence, tuned

D, HEADS, RATIO = 16, 2, 2


def causal(q, k, v, is_causal):
    """What torch before 2.0 lacks."""
    unseen = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(unseen, -torch.inf).softmax(-1) @ v


F.scaled_dot_product_attention = getattr(F, "scaled_dot_product_attention", causal)


def close(a, b, tolerance=1e-5):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def turned(vector, position, theta=10000.0):
    """RoPE of one head vector by complex numbers, in double."""
    half, out = len(vector) // 2, [0.0] * len(vector)
    for i in range(half):
        z = complex(vector[i], vector[i + half]) * cmath.exp(1j * position * theta ** (-2 * i / len(vector)))
        out[i], out[i + half] = z.real, z.imag
    return torch.tensor(out, dtype=torch.float64)


def by_loops(q, keys, values):
    """o [q_heads, tokens, d] of one sequence; keys(row, head, token) and values(...) give what the row sees, rotated; and the weights {(query head, row): [row + 1]}."""
    heads, tokens, d = q.shape
    out, weights = torch.zeros(heads, tokens, d), {}
    for h in range(heads):
        for i in range(tokens):
            query, own = turned(q[h, i].tolist(), i), h // RATIO
            p = torch.stack([query @ keys(i, own, j) for j in range(i + 1)]).div(math.sqrt(d)).softmax(0)
            weights[h, i] = p
            out[h, i] = sum(p[j] * values(i, own, j) for j in range(i + 1)).float()
    return out, weights


def world(tokens, seed=3):
    rows = lambda heads, s: tiny.rows(1, heads, tokens, D, seed + s)
    return rows(HEADS * RATIO, 0), rows(HEADS, 1), rows(HEADS, 2)


def book(channels, bits, seed=9):
    return codes.stored(torch.randn(HEADS, D // channels, 2**bits, channels, generator=torch.Generator().manual_seed(seed)), False)


def coded_by_loops(vector, centroids):
    """One head vector through centroids [chunks, entries, channels], in double."""
    parts = []
    for chunk, own in zip(vector.double().split(centroids.shape[2]), centroids.double()):
        parts.append(own[(own - chunk).square().sum(-1).argmin()])
    return torch.cat(parts)


class Attention(unittest.TestCase):
    def test_exact_attention_is_softmax(self):
        q, k, v = world(9)
        want, _ = by_loops(q[0], lambda i, h, j: turned(k[0, h, j].tolist(), j), lambda i, h, j: v[0, h, j].double())
        rope = Rope(tiny.CONFIG, "cpu")
        close(Exact(rope, rows=4)(0, q, k, v)[0], want)

    def simulated(self, recipe, q, k, v, rule, books):
        return Simulated(Rope(tiny.CONFIG, "cpu"), (recipe,), [books], rule, rows=3)(0, q, k, v)[0]

    def test_newest_rule_before_and_after_rope(self):
        q, k, v = world(11)
        books, window = (book(4, 3), book(8, 4)), 3
        for key in ("pre", "post"):
            for gain in ("none", "k", "kv"):
                def decoded(vector, centroids, side):
                    found = coded_by_loops(vector, centroids)
                    return found * float((vector.double().norm() / found.norm()).half()) if gain != "none" and side in gain else found

                def keys(i, h, j):
                    if j > i - window:
                        return turned(k[0, h, j].tolist(), j)
                    if key == "pre":
                        return turned(decoded(k[0, h, j], books[0][h], "k").tolist(), j)
                    return decoded(turned(k[0, h, j].tolist(), j).float(), books[0][h], "k")

                values = lambda i, h, j: v[0, h, j].double() if j > i - window else decoded(v[0, h, j], books[1][h], "v")
                want, _ = by_loops(q[0], keys, values)
                recipe = Recipe("4c3b", "8c4b", key, gain, policy="none", budget_permille=0, window=window)
                close(self.simulated(recipe, q, k, v, "newest", books), want, 1e-4)

    def test_flush_rule_chooses_anchors_online(self):
        tokens, window, flush, permille = 70, 16, 8, 150
        q, k, v = world(tokens)
        books = (book(4, 3), book(4, 3))
        recipe = Recipe("4c3b", "4c3b", "pre", policy="column", budget_permille=permille, window=window, flush_block=flush, first_tokens=1)
        self.checked, anchors = 0, [set() for _ in range(HEADS)]
        frozen = [{} for _ in range(HEADS)]
        sums = [[0.0] * tokens for _ in range(HEADS)]
        counts = [0] * tokens
        out, coded = torch.zeros(HEADS * RATIO, tokens, D), 0
        for i in range(tokens):
            while i - window - coded >= flush:  # c(i) rose: a block is flushed
                coded += flush
                budget = coded * permille // 1000 + 1
                for h in range(HEADS):
                    for j in range(coded - flush, coded):
                        frozen[h][j] = math.inf if j < 1 else sums[h][j] / counts[j]
                    anchors[h] = set(sorted(frozen[h], key=lambda j: (-frozen[h][j], j))[:budget])
                    frozen[h] = {j: frozen[h][j] for j in anchors[h]}
                self.checked += len(anchors[0])
            for head in range(HEADS * RATIO):
                h = head // RATIO
                exact = lambda j: j >= coded or j in anchors[h]
                key = lambda j: turned((k[0, h, j].double() if exact(j) else coded_by_loops(k[0, h, j], books[0][h])).tolist(), j)
                query = turned(q[0, head, i].tolist(), i)
                p = torch.stack([query @ key(j) for j in range(i + 1)]).div(math.sqrt(D)).softmax(0)
                out[head, i] = sum(p[j] * (v[0, h, j].double() if exact(j) else coded_by_loops(v[0, h, j], books[1][h])) for j in range(i + 1)).float()
                for j in range(coded, i + 1):
                    sums[h][j] += float(p[j])
            for j in range(coded, i + 1):
                counts[j] += 1
        self.assertGreater(self.checked, 10)
        attention = Simulated(Rope(tiny.CONFIG, "cpu"), (recipe,), [books], "flush")
        close(attention(0, q, k, v)[0], out, 1e-4)
        self.assertEqual(attention.held_bits, recipe.held_bits(D, tokens, 48, 48 * permille // 1000 + 1))

    def test_what_keeps_every_token_is_exact(self):
        model, ids = tiny.tiny(), tiny.ids(2, 40)
        want = model.loss(ids, Exact(model.rope))
        books = [(book(4, 2), book(4, 2))] * 2
        base = {"k": "4c2b", "v": "4c2b", "key": "pre", "gain": "kv", "selection": "global"}
        for axes, rule in (({"window": 40, "policy": "none", "budget_permille": 0}, "newest"), ({"window": 0, "budget_permille": 1000}, "newest"),
                           ({"window": 40, "policy": "none", "budget_permille": 0}, "flush"), ({"window": 0, "budget_permille": 1000, "flush_block": 8}, "flush")):
            found = model.loss(ids, Simulated(model.rope, [Recipe.parse({**base, **axes})] * 2, books, rule))
            close(found, want)
        coded = model.loss(ids, Simulated(model.rope, [Recipe.parse({**base, "window": 0, "policy": "none", "budget_permille": 0})] * 2, books))
        self.assertGreater(float((coded - want).abs().max()), 0.01)  # else nothing above was tested
        exact = [Recipe("f16", "f16", policy="none", budget_permille=0, window=0, flush_block=1)] * 2
        close(model.loss(ids, Simulated(model.rope, exact, [(None, None)] * 2)), want)

    def test_what_is_not_simulated_is_refused(self):
        rope = Rope(tiny.CONFIG, "cpu")
        for axes, why in (({"transform": "hadamard"}, "transform"), ({"scope": "head"}, "scope"), ({"window": 8}, "window of 16")):
            with self.assertRaisesRegex(ValueError, why):
                Simulated(rope, [Recipe("8c8b", "8c8b", **axes)], [], "flush")

    def test_scores(self):
        q, k, v = world(13)
        keys = lambda i, h, j: turned(k[0, h, j].tolist(), j)
        values = lambda i, h, j: v[0, h, j].double()
        o, p = by_loops(q[0], keys, values)
        want = {form: torch.zeros(1, HEADS, 13) for form in scores.FORMS}
        for (h, i), weights in p.items():
            size = float(q[0, h, i].norm())
            for j, a in enumerate(weights.tolist()):
                gap = float((v[0, h // RATIO, j] - o[h, i]).norm())
                for form, add in (("column", a), ("mass", a * (1 - a)), ("massq", a * (1 - a) * size), ("exact", a * gap * size / 4)):
                    want[form][0, h // RATIO, j] += add
        rope = Rope(tiny.CONFIG, "cpu")
        found = scores.forms(rope.rotate(q), rope.rotate(k), v, scores.FORMS, rows=5)
        for form in scores.FORMS:
            close(found[form], want[form], 1e-3 if form == "exact" else 1e-4)  # |v - o| is a difference of squares, small where one token has all the weight

    def test_ties_and_nan(self):
        given = torch.tensor([1.0, 3.0, math.nan, 3.0, -math.inf, 3.0])
        self.assertEqual(scores.top(given, 2).tolist(), [False, True, False, True, False, False])
        self.assertEqual(scores.top(given, 6).tolist(), [True, True, False, True, False, True])

    def test_llama3_frequencies(self):
        scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
        config = Config(**{**tiny.CONFIG.__dict__, "head_dim": 128, "theta": 500000.0, "scaling": scaling})
        plain = [500000.0 ** (-2 * i / 128) for i in range(64)]
        for found, f in zip(Rope(config, "cpu").inv_freq.tolist(), plain):
            wave = 2 * math.pi / f  # as the published code of the model has it
            smooth = (8192 / wave - 1) / 3
            want = f if wave < 8192 / 4 else f / 8 if wave > 8192 else (1 - smooth) * f / 8 + smooth * f
            self.assertAlmostEqual(found / want, 1, 5)


class Codebooks(unittest.TestCase):
    def test_kmeans_finds_clusters_and_weights_pull(self):
        g = torch.Generator().manual_seed(0)
        centres = torch.randn(1, 8, 4, generator=g) * 20
        x = (centres.repeat_interleave(40, 1) + torch.randn(1, 320, 4, generator=g) * 0.01)
        found = kmeans.kmeans(x, 8)
        self.assertLess(float(torch.cdist(found, centres).min(1).values.max()), 0.1)
        pair = torch.tensor([[[0.0], [1.0]]])
        close(kmeans.kmeans(pair, 1, torch.tensor([[1.0, 3.0]])), torch.tensor([[[0.75]]]))
        self.assertTrue(torch.equal(kmeans.kmeans(x, 5, seed=3), kmeans.kmeans(x, 5, seed=3)))
        with self.assertRaisesRegex(ValueError, "too few"):
            kmeans.kmeans(pair, 3)

    def test_split_joined_and_gain(self):
        x = tiny.rows(2, 3, 5, 16)
        close(codes.joined(codes.split(x, 4), x.shape), x)
        x_hat = x * 0.3 + 0.1
        restored = x_hat * codes.gain(x, x_hat)
        close(restored.norm(dim=-1), x.norm(dim=-1), 1e-3)
        self.assertTrue(torch.equal(codes.gain(x, torch.zeros_like(x)), torch.ones(2, 3, 5, 1)))

    def test_bases_leave_the_model_what_it_is(self):
        model, ids = tiny.tiny(), tiny.ids(2, 64)
        recording = calibrate.record(model, ids)
        other = fold.folded(model, fold.key_scales(recording, 1.0), fold.value_bases(recording, model, [4, 2]))
        close(other.loss(ids, Exact(other.rope)), model.loss(ids, Exact(model.rope)), 1e-3)
        moved = calibrate.record(other, ids)
        self.assertGreater(float((moved.k - recording.k).abs().max()), 0.01)
        self.assertGreater(float((moved.v - recording.v).abs().max()), 0.01)

    def test_bases_go_through_a_codebook_file_into_a_checkpoint(self):
        model, ids = tiny.tiny(), tiny.ids(2, 64)
        model.weights["model.layers.1.self_attn.v_proj.bias"] = torch.randn(2 * 16)
        bases = fold.value_bases(calibrate.record(model, ids), model, [4, 4])
        moved = calibrate.record(fold.folded(model, None, bases), ids)
        recipe, method = Recipe("f16", "4c4b", transform="basis"), calibrate.Method(iterations=2)
        plan, pairs = (recipe, recipe), [(None, book) for book in calibrate.codebooks(moved, "v", "4c4b", method=method)]
        with tempfile.TemporaryDirectory() as folder:
            given, path, out = Path(folder) / "in", Path(folder) / "book.safetensors", Path(folder) / "out"
            calibrate.write(path, plan, pairs, moved, method, model, bases)
            for found, want in zip(fold.read(path), bases):
                self.assertTrue(torch.equal(found, want))
            given.mkdir()
            tensors.write(given / "m.safetensors", model.weights, {})
            fold.fold_checkpoint(given, path, out)
            other = tiny.tiny()
            other.weights = tensors.read(out / "m.safetensors")[0]
            close(other.loss(ids, Exact(other.rope)), model.loss(ids, Exact(model.rope)), 1e-3)
            self.assertGreater(float((other.weights["model.layers.1.self_attn.v_proj.bias"] - model.weights["model.layers.1.self_attn.v_proj.bias"]).abs().max()), 0.01)
            with self.assertRaisesRegex(ValueError, "give them with transform basis"):
                calibrate.write(path, plan, pairs, moved, method, model)

    def test_a_basis_applied_around_attention_is_the_one_that_is_folded_in(self):
        model, ids = tiny.tiny(), tiny.ids(2, 64)
        bases = fold.value_bases(calibrate.record(model, ids), model, [4, 2])
        moved = calibrate.record(fold.folded(model, None, bases), ids)
        exact, entered = Exact(model.rope), {}

        def applied(layer, q, k, v):
            basis = Basis(tuple(matrices[layer] for matrices in bases), 2, 16, torch.device("cpu"))
            rows = lambda x: x.transpose(1, 2).flatten(0, 1)  # [batch * tokens, heads, d]
            back = lambda x, like: x.unflatten(0, (len(like), -1)).transpose(1, 2)
            entered[layer] = back(basis.enter(rows(v)), v)
            return back(basis.leave(rows(exact(layer, q, k, entered[layer]))), q)

        close(model.loss(ids, applied), model.loss(ids, exact), 1e-3)
        for layer in range(2):
            close(entered[layer].transpose(0, 1).flatten(1, 2), moved.v[layer], 1e-3)
        bare = Basis(None, 0, 0, torch.device("cpu"))
        v = tiny.rows(3, 2, 16, 1)[..., 0]
        self.assertTrue(bare.enter(v) is v and bare.leave(v) is v)
        with self.assertRaisesRegex(ArgumentError, "float32 .2, 16, 16."):
            Basis((bases[0][0, :1], bases[1][0]), 2, 16, torch.device("cpu"))

    def test_what_recipe_and_codebook_say_of_a_basis_must_agree(self):
        made = lambda basis: PackedCodebook("8c8b", 1, 8, b"", basis)
        eye = (torch.eye(8)[None], torch.eye(8)[None])
        of = lambda recipe, book, folded=False: basis_of(recipe, book, 3, folded, torch.device("cpu")).to
        self.assertIsNotNone(of({"transform": "basis"}, made(eye)))
        for recipe, book, folded in (({}, made(None), False), ({"transform": "none"}, None, False), ({"transform": "basis"}, made(eye), True), ({"transform": "basis"}, made(None), True)):
            self.assertIsNone(of(recipe, book, folded))
        for recipe, book, why in (({"transform": "basis"}, made(None), "layer 3 has no basis"), ({}, made(eye), "layer 3 has a basis")):
            with self.assertRaisesRegex(ArgumentError, why):
                of(recipe, book)

    def test_directions_are_dealt_as_gen_calibrate_deals_them(self):
        for scale in (1e-9, 1.0, 1e9):
            self.assertEqual(fold.dealt(torch.tensor([64, 32, 16, 8, 4, 2, 1, 0.5], dtype=torch.float64) * scale, 2), [0, 3, 4, 7, 1, 2, 5, 6])

    def test_recording_is_what_attention_saw(self):
        model, ids = tiny.tiny(), tiny.ids(3, 20)
        whole, parts = calibrate.record(model, ids), calibrate.record(model, ids, batch=1)
        for side in ("k", "v"):
            close(getattr(whole, side), getattr(parts, side))
            self.assertEqual(list(getattr(whole, side).shape), [2, 2, 60, 16])
        seen = {}
        def spy(layer, q, k, v):
            seen[layer] = k
            return Exact(model.rope)(layer, q, k, v)
        model.hidden(ids[1:2, :-1], spy)
        close(whole.k[1, :, 20:40], seen[1][0])
        close(whole.rows("k", "post")[1, :, 20:40], model.rope.rotate(seen[1][0]))

    def test_tensors_come_back(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.safetensors"
            given = {"a": torch.arange(6).view(2, 3).half(), "b": torch.tensor([-3, 5], dtype=torch.int8), "c": torch.randn(4)}
            tensors.write(path, given, {"what": "a test"})
            found, metadata = tensors.read(path)
            self.assertEqual(metadata, {"what": "a test"})
            for name, tensor in given.items():
                self.assertTrue(torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype)


class Runs(unittest.TestCase):
    def test_a_record(self):
        model = tiny.tiny()
        lab = Lab(model, tiny.ids(1, 80000)[0], tiny.ids(1, 9000)[0])
        lab.texts = {on: text[:2, :65] for on, text in lab.texts.items()}
        spec = {"name": "x", "recipe": {"k": "8c4b", "v": "8c4b", "key": "pre", "policy": "none", "budget_permille": 0, "window": 0, "selection": "global"}, "method": {"windows": 1, "iterations": 3}}
        record = json.loads(json.dumps(lab.measure(Run.parse(spec))))
        self.assertAlmostEqual(record["exact"], protocol.perplexity(model, Exact(model.rope), lab.texts["validation"]), 5)
        self.assertAlmostEqual(record["increase"], record["perplexity"] - record["exact"], 6)
        self.assertAlmostEqual(record["held_bits"], 0.5 + 1 / 32, 6)
        more = {**spec, "name": "y", "plan": [spec["recipe"], {**spec["recipe"], "v": "f16"}]}
        more.pop("recipe")
        self.assertGreater(lab.measure(Run.parse(more))["held_bits"], 4)
        mixed = [{**spec["recipe"], "v": codec, "gain": "kv"} for codec in ("8c4b", "4c4b")]
        self.assertGreater(lab.measure(Run.parse({**more, "name": "mixed", "plan": mixed, "value_basis": "metric"}))["held_bits"], 0.9)
        based = lab.measure(Run.parse({**spec, "name": "basis", "recipe": {**spec["recipe"], "transform": "basis"}}))
        self.assertEqual((based["run"]["value_basis"], record["run"]["value_basis"]), ("metric", "none"))
        self.assertNotEqual(based["perplexity"], record["perplexity"])
        for bad, why in (({**spec, "recipe": {**spec["recipe"], "windwo": 3}}, "windwo"), ({"name": "z", "preset": "antkv-9"}, "antkv-9")):
            with self.assertRaisesRegex(ValueError, why):
                Run.parse(bad)

    def test_tuning_brings_the_model_nearer_to_its_own_answers(self):
        model, text = tiny.tiny(), tiny.ids(1, 3000)[0]
        books = [(book(4, 3, seed), book(4, 3, seed + 1)) for seed in (1, 3)]
        for window, ring in ((0, False), (12, True)):
            plan = (Recipe("4c3b", "4c3b", "pre", "k", budget_permille=20, window=window, selection="global"),) * 2
            found = tuned(model, plan, books, text, Tuning(steps=25, lr=0.05, windows=2, tokens=48, ring=ring))
            batch = tiny.ids(4, 47, seed=8)
            drift = [float(divergence(model, batch, Fast(model.rope), Trained(model.rope, plan, b))) for b in (books, found)]
            self.assertLess(drift[1], 0.95 * drift[0], (window, drift))
            for row, length in ((0, 48), (1, 30)):  # what is tuned is what is read: Simulated says the same
                one = batch[row : row + 1, :length]
                close(model.hidden(one, Trained(model.rope, plan, found)).detach(), model.hidden(one, Simulated(model.rope, plan, found)), 1e-4)

    def test_a_codebook_file_of_one_command(self):
        lab = Lab(tiny.tiny(), tiny.ids(1, 80000)[0], tiny.ids(1, 80000)[0])
        spec = {"name": "x", "recipe": {"k": "8c4b", "v": "8c4bq8", "key": "pre", "gain": "k", "transform": "basis", "window": 16}, "method": {"windows": 1, "iterations": 2, "start": "random"}}
        files = {}
        with tempfile.TemporaryDirectory() as folder:
            for words, more in (("k-means", {}), ("tuned", {"tuning": {"steps": 2, "windows": 1, "tokens": 32, "ring": True}})):
                run = Run.parse({**spec, **more})
                codebooks.made(lab, run, f"{folder}/{words}")
                files[words], metadata = tensors.read(f"{folder}/{words}")
                self.assertEqual(metadata["recipe_hash"], run.plan[0].hash())
            to, back = fold.read(f"{folder}/tuned")
            with self.assertRaisesRegex(ValueError, "scales of keys"):
                codebooks.made(lab, Run.parse({**spec, "key_scale": 1.0}), f"{folder}/no")
        close(to @ back, torch.eye(D).expand_as(to), 1e-3)
        self.assertEqual(set(files["tuned"]), set(files["k-means"]))
        self.assertIn("layers.1.v.basis", files["tuned"])
        for name in ("layers.0.k", "layers.1.v"):
            self.assertFalse(torch.equal(files["tuned"][name], files["k-means"][name]), name)
        self.assertTrue(torch.equal(files["tuned"]["layers.0.v.basis"], files["k-means"]["layers.0.v.basis"]))

    @unittest.mock.patch.dict(protocol.CALIBRATION, {"windows": 1, "tokens": 256})
    def test_a_codebook_file_of_codecs_by_layer(self):
        lab = Lab(tiny.tiny(), tiny.ids(1, 80000)[0], tiny.ids(1, 80000)[0])
        lab.texts["search"] = lab.texts["search"][:1, :65]
        method = {"windows": 1, "tokens": 512, "iterations": 2, "start": "random"}
        menu = {"k": ("8c8b", "16c8b"), "v": ("16c8bq8",)}
        least = Recipe("16c8b", "16c8bq8", "pre", "k", policy="none", budget_permille=0).held_bits(D, 4096, 4096, 0)
        with self.assertRaisesRegex(ValueError, "no plan has 1.0 bits per element or less with 8c8b, 16c8b for k and 16c8bq8 for v"):
            codebooks.planned(lab, 1.0, {}, menu, method)
        plan = codebooks.planned(lab, least + 0.13, {"window": 32}, menu, method)
        recipes = [Recipe.parse(one) for one in plan]
        self.assertEqual([(r.gain, r.transform, r.window, r.key) for r in recipes], [("k", "basis", 32, "pre")] * 2)
        self.assertLessEqual(sum(r.held_bits(D, 4096, 4096, 0) for r in recipes) / 2, least + 0.13)
        plan[1]["k"] = "8c8b" if plan[0]["k"] == "16c8b" else "16c8b"  # a random model gains nothing from bits: they may be alike
        recipes[1] = Recipe.parse(plan[1])
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/plan"
            codebooks.made(lab, Run.parse({"name": "x", "plan": plan, "method": method}), path)
            self.assertEqual(read_recipe(path), [recipe.json() for recipe in recipes])
            for layer, sides in read_codebooks(path).items():
                self.assertEqual((sides["k"].codec, sides["v"].codec), (recipes[layer].k, recipes[layer].v))
                self.assertIsNotNone(sides["v"].basis)
            self.assertEqual(tensors.read(path)[1]["version"], "3")
            for wrong, why in (([plan[0]] * 3, "3 layers, the model has 2"), ([plan[0], {**plan[1], "transform": "none"}], "a basis that its recipe lacks")):
                with self.assertRaisesRegex(ValueError, why):
                    codebooks.made(lab, Run.parse({"name": "x", "plan": wrong, "method": method}), path)
            codebooks.made(lab, Run.parse({"name": "x", "plan": [plan[0]] * 2, "method": method}), path)
            self.assertEqual(read_recipe(path), recipes[0].json())  # one for all needs no plan

    def test_windows(self):
        text = torch.arange(100)
        self.assertEqual(protocol.cut(text, 2, 10).tolist(), [[0, *range(1, 11)], [0, *range(45, 55)]])
        self.assertEqual(protocol.cut(text, 2, 10, spread=False)[1].tolist(), [0, *range(11, 21)])


if __name__ == "__main__":
    unittest.main()
