"""How the suites make codebooks: members of calibrate.Method, and what a run adds to it."""

PLAIN = {"weights": "none", "iterations": 12, "start": "random"}
WEIGHTED = {"weights": "exact", "power": 1.0, "iterations": 12, "start": "random"}
DUMP = {**WEIGHTED, "start": "plusplus", "iterations": 25, "windows": 8, "tokens": 4096}  # what `gen calibrate` makes of a dump of record.py; windows as long as the texts that evaluation reads
BETTER = {"weights": "exact", "power": 1.0, "iterations": 25, "start": "plusplus", "windows": 64}
START = {**WEIGHTED, "windows": 16, "tokens": 4096}  # where gradients begin: they move centroids further than more iterations or careful starts would
TUNING = {"steps": 200, "lr": 0.03}
RING = {**TUNING, "ring": True}  # for caches that keep a window
