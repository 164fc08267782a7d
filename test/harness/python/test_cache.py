"""Tests harness/python/antkv/cache.py with forks and recipes by layer, and eager.kmeans, by emulated kernels: with the stand-in for torch (standin/). Run by cache.test.ts, which names the folder."""

import copy
import math
import sys
import unittest
from unittest import mock

import numpy
import torch

from antkv import ArgumentError, ContractError, Library, pack_codebook
from antkv.cache import Cache
from antkv.launch import use
from antkv.pack import PackedCodebook
from antkv.plan import exact_dtype
from antkv import eager

D, Q_HEADS, WINDOW, FLUSH = 64, 2, 16, 32
INV_FREQ = 10000.0 ** (-numpy.arange(0, D, 2) / D)
CODED = {"k": "8c8b", "v": "8c8bq8", "key": "pre", "gain": "k", "policy": "none", "window": WINDOW, "flush_block": FLUSH, "budget_permille": 0, "first_tokens": 0}
EXACT = {**CODED, "k": "f16", "v": "f16", "key": "post", "gain": "none", "window": 0, "flush_block": 1}
ANCHORS = {**CODED, "policy": "column", "budget_permille": 120}
OTHER = {**ANCHORS, "k": "16c8b", "v": "4c8b", "key": "post", "gain": "none"}


def codebook(codec, random):
    channels = int(codec.split("c")[0])
    entries = random.standard_normal((1, D // channels, 256, channels))
    if not codec.endswith("q8"):
        return PackedCodebook(codec, 1, D, pack_codebook(entries.astype(numpy.float16).tobytes(), entries.shape))
    steps = numpy.clip(numpy.rint(entries * 40), -127, 127).astype(numpy.int8)
    return PackedCodebook(codec, 1, D, pack_codebook(steps.tobytes(), entries.shape, numpy.full((1, D), 1 / 40, numpy.float32).tobytes()))


def books_of(recipe):
    random = numpy.random.default_rng(1)
    return {side: codebook(recipe[side], random) for side in ("k", "v") if recipe.get(side, "f16") != "f16"}


def make(recipe, **more):
    books = {layer: books_of(of) for layer, of in enumerate([recipe] * 2 if isinstance(recipe, dict) else recipe)}
    shape = {"layers": 2, "q_heads": Q_HEADS, "kv_heads": 1, "head_dim": D, "max_sequences": 4, "max_tokens": 512, "page_size": 16, **more}
    return Cache(recipe, books, inv_freq=torch.tensor(INV_FREQ, dtype=torch.float32), **shape)


def rows(seed, count):
    """q, k, v of `count` tokens, the same for a seed."""
    random = numpy.random.default_rng(seed)
    return [torch.tensor(random.standard_normal((count, heads, D)), dtype=torch.float16) for heads in (Q_HEADS, 1, 1)]


def begin(cache, tokens, seed):
    number = cache.start(tokens)
    q, k, v = rows(seed, tokens)
    scores = q.astype(float).transpose(1, 0, 2) @ k.astype(float).transpose(1, 2, 0) / math.sqrt(D)
    scores[:, numpy.triu(numpy.ones((tokens, tokens), dtype=bool), 1)] = -numpy.inf
    lse = torch.tensor(numpy.log(numpy.exp(scores).sum(-1)).T, dtype=torch.float32)
    for layer in range(2):
        cache.prefill(layer, number, q, k, v, lse=lse)
    return number


def step(cache, numbers, seeds, accepted=None):
    """One step of sequences with rows of their own seeds; returns what both layers attend to."""
    cache.step(numbers, accepted)
    q, k, v = (torch.tensor(numpy.concatenate(x), dtype=torch.float16) for x in zip(*(rows(seed, cache.max_q_len) for seed in seeds)))
    return [cache.attend(layer, q, k, v) for layer in range(2)], q


def seeds_of(base, at):
    return [1000 * (base + i) + at for i in range(2)]


class Forks(unittest.TestCase):
    def twins(self, recipe, before, after, cut=0, **more):
        """A fork and its donor do, bit for bit, what two sequences do that were apart from the start."""
        one, two = make(recipe, **more), make(recipe, **more)
        donor, pair = begin(one, 70, 5), [begin(two, 70, 5) for _ in range(2)]
        for at in range(before):
            step(one, [donor], [at]), step(two, pair, [at, at])
        for cache, numbers in ((one, [donor]), (two, pair)):
            for number in numbers:
                s = cache._sequences[number]
                cache.truncate(number, s.committed + s.pending - cut)
        both = [donor, one.fork(donor)]
        held = [one._sequences[number] for number in both]
        self.assertEqual(held[0].pages, held[1].pages)
        used = one._pool.size - len(one._pool._free)
        self.assertEqual(used, len(held[0].pages))
        for at in range(after):
            (mine, _), (theirs, _) = step(one, both, seeds_of(1, at)), step(two, pair, seeds_of(1, at))
            for layer, (a, b) in enumerate(zip(mine, theirs)):
                self.assertTrue(numpy.array_equal(a, b), f"step {at}, layer {layer}")
        self.assertNotEqual(held[0].pages, held[1].pages)
        pages = [set(s.pages) for s in held]
        self.assertEqual(one._pool.size - len(one._pool._free), len(pages[0] | pages[1]))
        one.end(donor), two.end(pair[0])
        for at in range(20):
            self.assertTrue(numpy.array_equal(step(one, both[1:], [at])[0], step(two, pair[1:], [at])[0]), "after its donor ended")
        one.end(both[1])
        self.assertEqual(sorted(one._pool._free), list(range(one._pool.size)))
        self.assertFalse(one._pool._more)
        return pages

    def test_coded(self):
        mine, theirs = self.twins(CODED, 12, 70)
        self.assertEqual(len(mine & theirs), 64 // 16, "what was coded stays shared")

    def test_exact_pages_are_copied_when_written(self):
        mine, theirs = self.twins(EXACT, 12, 30)
        self.assertEqual(len(mine & theirs), 82 // 16, "whole pages stay shared")

    def test_drafts_and_truncation(self):
        self.twins(EXACT, 5, 8, cut=7, max_q_len=4)
        self.twins(CODED, 5, 15, cut=3, max_q_len=4)

    def anchors(self, cache, number, layer):
        """Tokens of a sequence's anchors: shared, own."""
        s, size = cache._sequences[number], 4 * 16
        tokens = [cache.layers[layer].anchors[page, 0, -size:].view(torch.int32) for page in s.anchor_pages]
        of = lambda parts: sorted(int(token) for part in parts for token in part if token >= 0)
        return of(tokens[: s.frozen_pages]), of(tokens[s.frozen_pages :])

    def test_anchors(self):
        cache = make(ANCHORS, max_forks=2)
        numbers = [begin(cache, 100, 3)]
        for at in range(30):
            step(cache, numbers, [at])
        for generation in range(2):
            donor = cache._sequences[numbers[-1]]
            numbers.append(cache.fork(numbers[-1]))
            frozen = [(cache.layers[layer].pages[list(donor.pages)].copy(), cache.layers[layer].anchors[list(donor.anchor_pages)].copy()) for layer in range(2)]
            kept = [self.anchors(cache, numbers[-1], layer)[0] for layer in range(2)]
            self.assertEqual(len(kept[0]), cache.lengths.anchor_rows(donor.coded))
            pages, anchor_pages = list(donor.pages), list(donor.anchor_pages)
            for at in range(70):
                (_, last), q = step(cache, numbers, [1000 * i + 100 * generation + at for i in range(1, len(numbers) + 1)])
            for layer in range(2):
                self.assertTrue(numpy.array_equal(cache.layers[layer].pages[pages], frozen[layer][0]), "shared pages are not written")
                self.assertTrue(numpy.array_equal(cache.layers[layer].anchors[anchor_pages], frozen[layer][1]), "nor shared anchors")
                for number in numbers[-2:]:
                    s = cache._sequences[number]
                    shared, own = self.anchors(cache, number, layer)
                    self.assertEqual(shared, kept[layer])
                    self.assertTrue(own and min(own) >= s.frozen and max(own) < s.coded, own)
                    self.assertEqual(len(shared) + len(own), cache.lengths.anchor_rows(s.coded))
            for i, number in enumerate(numbers):
                want = attention(q[i], *stored(cache, number, 1))
                self.assertLess(numpy.linalg.norm(last[i] - want) / numpy.linalg.norm(want), 4e-3)
        with self.assertRaisesRegex(ArgumentError, "was forked 2 times, max_forks is 2"):
            cache.fork(numbers[-1])
        with self.assertRaisesRegex(ArgumentError, "was forked: others hold its pages"):
            cache.prefill(0, numbers[-1], *rows(1, 1))
        for number in numbers:
            cache.end(number)
        self.assertEqual(len(cache._anchor_pool._free), cache._anchor_pool.size)

    def test_scores_of_a_sequence_that_pauses_are_not_those_of_another(self):
        """A step overwrites where the one before left its scores."""
        cache = make(ANCHORS)
        numbers = [begin(cache, 100, 3), begin(cache, 100, 4)]
        step(cache, numbers, [1, 2])
        step(cache, numbers[:1], [3])
        self.assertEqual([cache._sequences[number].score_row for number in numbers], [0, -1])


def state_of(cache):
    """All that a cache keeps on the host, and the arrays that tell kernels of it."""
    pools = [(list(pool._free), dict(pool._more)) for pool in (cache._pool, cache._anchor_pool, cache._slots)]
    arrays = [array.copy() for array in (cache._tables, cache._block_table, cache._lengths, *([cache._anchor_table] if cache.keeps else []))]
    return copy.deepcopy(cache._sequences), pools, cache._rows, [array.tolist() for array in arrays]


class Refusals(unittest.TestCase):
    def refused(self, cache, why, call, *arguments):
        """What is refused has changed nothing."""
        before = state_of(cache)
        with self.assertRaisesRegex(ArgumentError, why):
            call(*arguments)
        self.assertEqual(before, state_of(cache))

    def test_a_step_that_finds_no_room_may_be_tried_again(self):
        tight, roomy = make(CODED, pages=4), make(CODED)
        numbers, more = [[begin(cache, 47, seed) for seed in (1, 2)] for cache in (tight, roomy)][0], tight.start(79)
        for cache in (tight, roomy):
            step(cache, numbers, [1, 2])
        self.refused(tight, "4 more coded pages are needed, 2 of 4 are free; end sequences", tight.step, numbers)
        tight.end(more)
        for at in range(3):
            (mine, _), (theirs, _) = step(tight, numbers, [at, 9]), step(roomy, numbers, [at, 9])
            self.assertTrue(all(numpy.array_equal(a, b) for a, b in zip(mine, theirs)), f"step {at}")

    def test_a_step_of_forks_needs_a_page_for_each_copy_that_it_makes(self):
        for pages in (2, 3):
            cache = make(EXACT, pages=pages)
            donor = begin(cache, 24, 1)
            both = [donor, cache.fork(donor)]
            if pages == 2:
                self.refused(cache, "1 more coded pages are needed, 0 of 2 are free", cache.step, both)
            else:
                cache.step(both)  # the last holder keeps the page
                self.assertFalse(cache._pool._free)

    def test_a_start_that_finds_no_room_takes_nothing(self):
        for change, why in (({"pages": 8}, "6 more coded pages are needed, 2 of 8 are free"), ({"max_sequences": 1}, "1 more sequences are needed, 0 of 1 are free")):
            cache = make(ANCHORS, **change)
            numbers = [cache.start(120)]
            self.refused(cache, why, cache.start, 120)
            cache.end(numbers[0])
            cache.start(120)
        cache = make(ANCHORS)
        cache._anchor_pool.take_all(cache._anchor_pool.size)
        self.refused(cache, "1 more anchor pages are needed", cache.start, 120)
        for tokens, why in ((-1, "a prompt of -1 tokens, max_tokens is 512"), (1.5, "tokens of a prompt is 1.5; give a whole number")):
            self.refused(cache, why, cache.start, tokens)

    def test_a_number_that_is_no_sequence(self):
        cache = make(CODED)
        with self.assertRaisesRegex(ArgumentError, "attend: no step is open; call step first"):
            cache.attend(0, *rows(1, 1))
        cache.end(begin(cache, 20, 1))
        for op, *more in (("end",), ("fork",), ("truncate", 1), ("bytes",), ("prefill", *rows(1, 20))):
            call = getattr(cache, op)
            self.refused(cache, f"{op}: there is no sequence 0; start and fork return", *((call, 0, 0) if op == "prefill" else (call, 0)), *more)

    def test_no_sequence_grows_beyond_max_tokens(self):
        for recipe, rows_ in ((CODED, 1), (CODED, 4), (EXACT, 1)):
            cache = make(recipe, max_tokens=64, max_q_len=rows_)
            number = begin(cache, 64 - 2 * rows_, 1)
            for at in range(2):
                step(cache, [number], [at])
            self.refused(cache, f"step: sequence 0 would have {64 + rows_} tokens, max_tokens is 64; end it", cache.step, [number])
            cache.step([number], [0])  # its last rows do not count

    def test_sequences_and_accepted_rows_of_a_step_fit_each_other(self):
        cache = make(CODED)
        numbers = [begin(cache, 20, seed) for seed in (1, 2)]
        for why, *arguments in (
            (r"step: sequences is \[0, 0\]; each is in a step once", numbers[:1] * 2), ("step: there is no sequence 3; start and fork return", [*numbers, 3]),
            ("step: accepted has 1 numbers for 2 sequences", numbers, [20]), (r"step: accepted\[1\] is 21; sequence 1 has 20 rows", numbers, [20, 21]),
            (r"step: accepted\[1\] is 1.5; give a whole number", numbers, [20, 1.5]),
        ):  # fmt: skip
            self.refused(cache, why, cache.step, *arguments)


class Shapes(unittest.TestCase):
    def test_every_launch_of_a_cache_asks_the_tables_for_its_own_problem(self):
        cache, asked, choose = make(ANCHORS), {}, Library.choose
        use(FOLDER)  # forgets what was chosen

        def spied(library, contract, shape=None):
            asked.setdefault(contract.split("_")[1], set()).add(shape and (shape.batch, shape.kv_heads, shape.max_tokens))
            return choose(library, contract, shape)

        with mock.patch.object(Library, "choose", spied):
            numbers = [begin(cache, tokens, tokens) for tokens in (100, 70)]
            step(cache, numbers, [1, 2])
        table = (512 // 16) * 16
        want = {"score": {(1, 1, 100), (1, 1, 70)}, "select": {(1, 1, 64), (1, 1, 32)}, "encode": {(1, 1, 64), (1, 1, 32)}, "append": {(1, 1, table), (2, 1, table)}, "decode": {(2, 1, 512)}}
        self.assertEqual(asked, want)


class Policies(unittest.TestCase):
    def prompt(self, policy, tokens=100):
        """A prompt under a policy: norms of its coded keys [tokens]; its anchors' frozen scores by token; sums of P and of P (1 - P) of each coded token [tokens]."""
        cache = make({**ANCHORS, "policy": policy})
        number = begin(cache, tokens, 3)
        s, (q, k, _) = cache._sequences[number], rows(3, tokens)
        scores = q.astype(float).transpose(1, 0, 2) @ k.astype(float).transpose(1, 2, 0) / math.sqrt(D)
        scores[:, numpy.triu(numpy.ones((tokens, tokens), dtype=bool), 1)] = -numpy.inf
        p = numpy.exp(scores - numpy.log(numpy.exp(scores).sum(-1, keepdims=True)))[:, :, : s.coded]
        at, size = cache.layers[0], 4 * 16
        indices = numpy.concatenate([at.anchors[page, 0, -size:].view(torch.int32) for page in s.anchor_pages])
        frozen = {int(token): float(score) for token, score in zip(indices, at.anchor_score[s.slot, 0]) if token >= 0}
        norms = numpy.linalg.norm(k[: s.coded, 0].astype(float), axis=-1)
        for seed in range(60):  # it lives on
            step(cache, [number], [seed])
        return norms, frozen, p.sum((0, 1)), (p * (1 - p)).sum((0, 1))

    def test_what_ranks_a_prompt_and_what_its_anchors_are_frozen_with(self):
        for policy in ("column", "mass", "saliency", "key-magnitude", "largest-key"):
            norms, frozen, column, mass = self.prompt(policy)
            means = column / (100 - numpy.arange(len(column)))
            rank = {"column": column, "mass": mass, "saliency": means, "key-magnitude": -norms, "largest-key": norms}[policy]
            self.assertEqual(sorted(frozen), sorted(numpy.argsort(-rank, kind="stable")[: len(frozen)].tolist()), policy)
            self.assertEqual(len(frozen), len(norms) * 120 // 1000)
            want = rank if "key" in policy else means
            for token, score in frozen.items():
                self.assertAlmostEqual(score, want[token], delta=2e-3 * abs(want[token]), msg=policy)


def stored(cache, number, layer):
    """k, v [tokens, d] of all that a sequence holds: coded tokens by unpack, the others out of the ring."""
    s, at = cache._sequences[number], cache.layers[layer]
    ints = lambda *values: torch.tensor(values, dtype=torch.int32)
    k, v = (torch.zeros([s.coded, 1, D], dtype=torch.float16) for _ in range(2))
    eager.unpack(at.contracts["unpack"], k, v, at.pages, ints(0, s.coded), 16, s.coded, block_table=cache._tables[s.slot : s.slot + 1].clone(), state_slot=ints(s.slot), **cache._shared(at))
    ring = numpy.arange(s.coded, s.committed + s.pending) % at.ring_k.shape[2]
    return tuple(numpy.concatenate([x[:, 0], of[s.slot, 0, ring]]).astype(float) for x, of in ((k, at.ring_k), (v, at.ring_v)))


def attention(q, k, v):
    p = numpy.exp(q.astype(float) @ k.T / math.sqrt(D))
    return (p / p.sum(-1, keepdims=True)) @ v


def bf16(x):
    """Rounded to nearest, as tensors of bf16, and as numbers."""
    bits = numpy.asarray(x, dtype=numpy.float32).view(numpy.uint32)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return torch.tensor(bits.astype(numpy.uint16).view(torch.bfloat16)), numbers_of(bits)


def numbers_of(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32).astype(float)


class Bf16(unittest.TestCase):
    def test_a_cache_holds_bf16_where_the_folder_has_both(self):
        """Attention over a prompt, a ring and anchors, against what unpack and ring say is stored."""
        cache = make(ANCHORS, dtype=torch.bfloat16)
        self.assertTrue(all("_bf16" in name for of in (*[layer.contracts for layer in cache.layers], cache.contracts) for op, name in of.items() if op != "select"))
        self.assertEqual([make(recipe).dtype for recipe in (ANCHORS, EXACT)], [torch.float16] * 2)
        self.assertEqual([exact_dtype([EXACT, {**EXACT, "v": v}]) for v in ("f16", "bf16")], ["f16", "bf16"])
        number, tokens = cache.start(100), 100
        for layer in range(2):
            cache.prefill(layer, number, *(bf16(x)[0] for x in rows(3, tokens)), lse=torch.tensor(numpy.full((tokens, Q_HEADS), 3.0), dtype=torch.float32))
        ints = lambda *values: torch.tensor(values, dtype=torch.int32)
        for at in range(30):
            cache.step([number])
            q, k, v = (bf16(x) for x in rows(100 + at, 1))
            out = [cache.attend(layer, q[0], k[0], v[0]) for layer in range(2)][1]
        s, layer = cache._sequences[number], cache.layers[1]
        self.assertGreater(s.coded, 64)
        kept = [torch.zeros([s.coded, 1, D], dtype=torch.bfloat16) for _ in range(2)]
        eager.unpack(layer.contracts["unpack"], *kept, layer.pages, ints(0, s.coded), 16, s.coded, block_table=cache._tables[s.slot : s.slot + 1].clone(), state_slot=ints(s.slot), **cache._shared(layer))
        ring = numpy.arange(s.coded, s.committed + s.pending) % layer.ring_k.shape[2]
        stored = [numpy.concatenate([numbers_of(x.view(numpy.uint16)[:, 0]), numbers_of(of.view(numpy.uint16)[s.slot, 0, ring])]) for x, of in zip(kept, (layer.ring_k, layer.ring_v))]
        want = attention(q[1][0], *stored)
        self.assertLess(numpy.linalg.norm(numbers_of(out.view(numpy.uint16)[0]) - want) / numpy.linalg.norm(want), 1e-2)

    def test_rows_of_another_dtype_and_dtypes_that_no_kernel_has(self):
        cache = make(CODED)
        with self.assertRaisesRegex(ArgumentError, "append: k has elements of bf16, not f16"):
            cache.prefill(0, cache.start(10), *(bf16(x)[0] for x in rows(3, 10)))
        with self.assertRaisesRegex(ArgumentError, "Cache: dtype is float32; it is torch.float16 or torch.bfloat16"):
            make(CODED, dtype=torch.float32)
        with self.assertRaisesRegex(ContractError, "dtype bf16, k f16"):
            make(EXACT, dtype=torch.bfloat16)


class Capped(unittest.TestCase):
    """Softcap and sinks: contracts that need an argument, and refuse it where they have no such thing."""

    DECODE, SCORE = "antkv_decode_d64_kf16_vf16_f16_softcap_sink", "antkv_score_d64_f16_softcap"

    def arguments(self, tokens=20):
        ints = lambda *values: torch.tensor(values, dtype=torch.int32)
        q, k, v = rows(3, tokens)
        pages = torch.zeros([2, 1, 4096], dtype=torch.uint8)
        eager.encode("antkv_encode_d64_kf16_vf16_f16", k, v, pages, ints(0, tokens), 16, tokens, None, None, block_table=torch.tensor([[1, 0]], dtype=torch.int32))
        at = dict(pages=pages, coded_len=ints(tokens), kv_len=ints(tokens), page_size=16, max_tokens=tokens, scale=1.0, block_table=torch.tensor([[1, 0]], dtype=torch.int32))
        return q, k, v, at, torch.tensor([0.5, -1.0], dtype=torch.float32)

    def test_attention_is_capped_and_has_sinks(self):
        q, k, v, at, sinks = self.arguments()
        for splits in (1, 2):
            lse = torch.zeros([1, Q_HEADS], dtype=torch.float32)
            out = eager.decode(self.DECODE, q[-1:].contiguous(), lse=lse, ring_scores=None, softcap=3.0, sink_logits=sinks, splits=splits, **at)
            scores = 3 * numpy.tanh(q[-1].astype(float) @ k[:, 0].astype(float).T / 3)
            total = numpy.exp(scores).sum(-1) + numpy.exp(sinks.astype(float))
            want = numpy.exp(scores) @ v[:, 0].astype(float) / total[:, None]
            self.assertLess(numpy.linalg.norm(out[0] - want) / numpy.linalg.norm(want), 4e-3)
            self.assertTrue(numpy.allclose(lse[0], numpy.log(total), atol=1e-3))
        scored, ints = torch.zeros([1, 1, 20], dtype=torch.float32), lambda *values: torch.tensor(values, dtype=torch.int32)
        eager.score(self.SCORE, scored, q[-1:].contiguous(), k, lse, ints(0, 1), ints(0, 20), 20, 1.0, softcap=3.0)
        self.assertTrue(numpy.allclose(scored[0, 0], (numpy.exp(scores) / total[:, None]).sum(0), rtol=4e-3, atol=1e-4))

    def test_what_a_contract_needs_is_asked_for_and_nothing_else_is_taken(self):
        q, k, _, at, sinks = self.arguments()
        plain, one = self.DECODE.removesuffix("_softcap_sink"), q[-1:].contiguous()
        for contract, more, why in (
            (self.DECODE, {"sink_logits": sinks}, "decode: softcap is 0; it is finite and above 0"), (self.DECODE, {"sink_logits": sinks, "softcap": math.inf}, "decode: softcap is inf"),
            (self.DECODE, {"softcap": 3.0}, "decode: sink_logits is missing"), (self.DECODE, {"softcap": 3.0, "sink_logits": torch.zeros(3)}, r"sink_logits is \[3\]; its axes are \[q_heads\]"),
            (plain, {"softcap": 3.0}, "softcap is 3; it is 0: the contract has none"), (plain, {"sink_logits": sinks}, r"sink_logits.* it is null: the contract has none"),
        ):  # fmt: skip
            with self.assertRaisesRegex(ArgumentError, why):
                eager.decode(contract, one, lse=None, ring_scores=None, **more, **at)
        ints = lambda *values: torch.tensor(values, dtype=torch.int32)
        for contract, softcap, why in ((self.SCORE, 0.0, "score: softcap is 0; it is finite"), ("antkv_score_d64_f16", 3.0, "score: softcap is 3; it is 0")):
            with self.assertRaisesRegex(ArgumentError, why):
                eager.score(contract, torch.zeros([1, 1, 20]), one, k, torch.zeros([1, Q_HEADS]), ints(0, 1), ints(0, 20), 20, 1.0, softcap=softcap)


class Plans(unittest.TestCase):
    def test_a_layer_does_what_it_does_where_all_have_its_recipe(self):
        """Bit for bit: through a prompt, drafts of which some are taken back, flushes with anchors, a fork, a truncation and an end."""
        more = {"max_q_len": 4, "max_forks": 1}
        mixed, whole = make([ANCHORS, OTHER], **more), [make(ANCHORS, **more), make(OTHER, **more)]
        caches = [mixed, *whole]
        numbers = [begin(mixed, 70, 5)]
        self.assertEqual([[begin(cache, 70, 5)] for cache in whole], [numbers, numbers])

        def alike(seeds, accepted=None):
            found = [step(cache, numbers, seeds, accepted)[0] for cache in caches]
            for layer in range(2):
                self.assertTrue(numpy.array_equal(found[0][layer], found[1 + layer][layer]), f"layer {layer}")

        for at in range(12):
            alike([at], [at % 5] if at else None)
        forks = [cache.fork(numbers[0]) for cache in caches]
        self.assertEqual(forks, forks[:1] * 3)
        numbers.append(forks[0])
        for at in range(8):
            alike(seeds_of(1, at))
        for cache in caches:
            s = cache._sequences[numbers[1]]
            cache.truncate(numbers[1], s.committed + s.pending - 2)
            cache.end(numbers[0])
        del numbers[0]
        for at in range(4):
            alike([50 + at])
        coded = mixed._sequences[numbers[0]].coded
        self.assertGreater(coded, 70)
        self.assertNotEqual(mixed.layers[0].pages.shape, mixed.layers[1].pages.shape)
        for layer in range(2):
            for array in ("pages", "anchors", "ring_k", "ring_v", "anchor_score"):
                self.assertTrue(numpy.array_equal(getattr(mixed.layers[layer], array), getattr(whole[layer].layers[layer], array)), f"layer {layer}, {array}")
        self.assertEqual(2 * mixed.bytes(numbers[0]), sum(cache.bytes(numbers[0]) for cache in whole))

    def test_what_layers_must_have_alike_is_named(self):
        for change, why in (({"window": 32}, "layer 1 has window 32, layer 0 has 16; it is one for all"), ({"flush_block": 64}, "layer 1 has flush_block 64"), ({"policy": "first"}, "layer 1 has policy first"),
                            ({"budget_permille": 10}, "layer 1 has budget_permille 10, layer 0 has 120"), ({"first_tokens": 4}, "first_tokens 4"), ({"extra_tokens": 1}, "extra_tokens is 1"),
                            ({"k": "f16", "v": "f16", "key": "post", "gain": "none"}, "layer 1 is exact and layer 0 is not")):
            with self.assertRaisesRegex(ArgumentError, why):
                make([ANCHORS, {**ANCHORS, **change}])
        with self.assertRaisesRegex(ArgumentError, "recipe of layer 1 has no v, window; give all members"):
            make([ANCHORS, {name: value for name, value in OTHER.items() if name not in ("v", "window")}])
        with self.assertRaisesRegex(ArgumentError, "1 recipes for 2 layers"):
            make([ANCHORS])
        with self.assertRaisesRegex(ArgumentError, "layer 1 needs a codebook of 8c8b for 1 heads on its k, codebooks has 16c8b"):
            Cache([ANCHORS, ANCHORS], {0: books_of(ANCHORS), 1: books_of(OTHER)}, layers=2, q_heads=Q_HEADS, kv_heads=1, head_dim=D, max_sequences=1, max_tokens=64, page_size=16)


class Kmeans(unittest.TestCase):
    def test_two_steps_from_given_centroids(self):
        random = numpy.random.default_rng(7)
        x = random.standard_normal((2, 700, 16)).astype(numpy.float16)
        weights = random.random((2, 700)).astype(numpy.float32)
        start = random.standard_normal((2, 4, 256, 4)).astype(numpy.float16).astype(numpy.float32)
        centroids = torch.tensor(start, dtype=torch.float32)
        loss, energy, status = eager.kmeans("antkv_kmeans_k4c8b_f16", torch.tensor(x, dtype=torch.float16), centroids, 8.0, weights=torch.tensor(weights, dtype=torch.float32), max_steps=2, tolerance=0.0)
        self.assertEqual([loss.shape, energy.shape, status.shape], [(2, 4, 3), (2, 4), (2, 4, 4)])
        for head in range(2):
            for chunk in range(4):
                rows_, w = x[head, :, 4 * chunk : 4 * chunk + 4].astype(float), weights[head].astype(float)
                at, want = start[head, chunk].astype(float), []
                for round_ in range(3):
                    distances = numpy.square(rows_[:, None] - at).sum(-1)
                    code, losses = distances.argmin(1), distances.min(1) * w
                    want.append(losses.sum())
                    if round_ < 2:
                        mass = numpy.bincount(code, w, 256)
                        sums = numpy.stack([numpy.bincount(code, w * rows_[:, i], 256) for i in range(4)], 1)
                        worst = iter(numpy.argsort(-losses, kind="stable"))
                        at = numpy.stack([sums[e] / mass[e] if mass[e] > 0 else rows_[next(worst)] for e in range(256)]).astype(numpy.float16).astype(float)
                self.assertTrue(numpy.allclose(loss[head, chunk], want, rtol=1e-3), f"{loss[head, chunk]}, not {want}")
                self.assertGreater(numpy.isclose(centroids[head, chunk], at, atol=1e-3).mean(), 0.98)
                self.assertAlmostEqual(float(energy[head, chunk]), float((w * numpy.square(rows_).sum(1)).sum()), places=2)
        self.assertTrue((status[..., 0] == 2).all() and (status[..., 1] > 0).any())


if __name__ == "__main__":
    FOLDER = sys.argv.pop(1)
    use(FOLDER)
    unittest.main()
