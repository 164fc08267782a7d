"""Perplexity of LLaMA-like models under recipes of the KV cache.

    python3 -m eval --help          (in harness/python)

model.py: the forward pass, with a pluggable attention.  recipe.py: recipes and what they cost in bits.  calibrate.py: codebooks by k-means, all layers at once.
tune.py: the same centroids, moved against the model's own loss.  simulate.py: attention over a quantised cache in plain fp32.  protocol.py: windows, recordings, perplexity.
"""
