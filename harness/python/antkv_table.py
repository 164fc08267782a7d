"""Which kernel and launch a tuning table chooses: clamps a shape to the table's axes and indexes. No dependencies.

Put the generated folder on sys.path: its antkv_tables.py has the tables. Twins: generator/table/find.ts and harness/antkv_table.h; test/golden/table.json of the
sources holds for all three.

    from antkv_table import Device, find
    answer = find("antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4", Device(90, 132, 232448, 62914560, 6144, 3201), batch=16, q_heads=32, kv_heads=8, tokens=32768)
"""

from bisect import bisect_left
from functools import cmp_to_key
from typing import NamedTuple, Optional

QUALITIES = ("measured", "interpolated", "stale", "sibling", "arch", "modelled", "default")
MODES = ("sequence", "spread", "fastest")
MERGES = ("none", "last", "combine")

_CELL_QUALITIES = (0, 1, 5, 6)  # of QUALITIES, by the cell's two bits
_SAME, _SIBLING, _OTHER = 0, 1, 2
_MOST_REGRET = 9999
TABLES_VERSION = 2  # of antkv_tables.py
_MOST_GRID, _MOST_RATIO, _MOST_Q_LEN, _MOST_TOKENS = 65535, 16, 16, 1 << 30  # BOUNDS of generator/launch.ts


class Device(NamedTuple):
    """What a device is, whatever its name: attributes 75 and 76 (as 10 * major + minor), 16, 97, 38, 37 and 36 / 1000 (at least 1) of cuDeviceGetAttribute."""

    arch: int
    multiprocessors: int
    shared_per_block: int
    l2_bytes: int
    bus_bits: int
    memory_mhz: int


class Answer(NamedTuple):
    kernel: Optional[str]  # None: no kernel of the contract runs on this device
    splits: int  # 0: the loader's rule decides; ops without splits have 0 too
    spread: bool
    merge: str
    quality: str
    regret: Optional[int]  # expected loss against the best that is known, in thousandths
    table: Optional[str]


def step(x: int) -> int:
    """The nearest of 1, 1.5, 2, 3, 4, 6 ... as its number: 2 k is 2^k, 2 k + 1 is 1.5 x 2^k."""
    whole = min(max(int(x), 1), 2**52 - 1)
    k = whole.bit_length() - 1
    return 2 * k + (((whole << 2 >> k) & 3) + 1 >> 1)


def _clamp(x: int, most: int) -> int:
    return min(max(x, 1), most)


def _place(first: int, count: int, power: int, x: int) -> int:
    return min(max(step(_clamp(x, 2**26 - 1) ** power) - first, 0), count - 1)


def _runs(row, device: Device) -> bool:
    _, _, arch, shared_bytes, _, own = row
    return (arch == device.arch if own else arch <= device.arch) and shared_bytes <= device.shared_per_block


def _match(table, device: Device) -> int:
    if tuple(table[2:8]) == tuple(device):
        return _SAME
    return _SIBLING if tuple(table[2:4]) == tuple(device[:2]) else _OTHER


def _compare(tables, device: Device):
    def order(a, b):
        s, t = tables[a[0]], tables[b[0]]
        n = device.multiprocessors
        far = max(s[3], n) * min(t[3], n) - max(t[3], n) * min(s[3], n)  # as ratios, crosswise: whole numbers only
        foreign = (s[2] // 10 != device.arch // 10) - (t[2] // 10 != device.arch // 10)
        return _match(s, device) - _match(t, device) or foreign or far or a[1] - b[1] or t[1] - s[1] or a[0] - b[0]

    return cmp_to_key(order)


def _answer(data, entry, columns: int, device: Device, batch, q_heads, kv_heads, q_len, tokens, mode: int) -> Optional[Answer]:
    table = data.TABLES[entry[0]]
    _, _, *_, streams_first, streams_count, streams_power, tokens_first, tokens_count, tokens_power, sibling, other = table
    lines = kv_heads * -(-q_len * (q_heads // kv_heads) // columns) if columns else kv_heads
    row = _place(streams_first, streams_count, streams_power, batch * lines)
    cell = data.CELLS[data.LINES[entry[3 + mode] + row] + _place(tokens_first, tokens_count, tokens_power, tokens)]
    kernel, ctas, spread, merge, stale = data.CHOICES[entry[2] + (cell >> 16)]
    if not _runs(data.KERNELS[kernel], device):
        return None
    splits = 0
    if ctas:  # a share of fewer than 32 tokens is none
        splits = min(1024, max(1, ctas // lines) if spread else min(ctas, max(1, -(-tokens // 32))))
    match = _match(table, device)
    quality = max(_CELL_QUALITIES[cell >> 14 & 3], 2 if stale else 0, (0, 3, 4)[match], 5 if entry[1] == 2 else 0)
    regret = min((cell & 0x3FFF) + (0, sibling, other)[match], _MOST_REGRET)
    return Answer(data.KERNELS[kernel][1], splits, bool(spread), MERGES[merge] if splits > 1 else "none", QUALITIES[quality], regret, table[0])


def _tables(data):
    if data is None:
        import antkv_tables as data
    if data.TABLES_VERSION != TABLES_VERSION:
        raise ImportError(f"{data.__file__}: tables of version {data.TABLES_VERSION}, antkv_table.py reads {TABLES_VERSION}: take both from one release")
    return data


def default(contract: str, device: Device, *, mode: str = "sequence", data=None) -> Answer:
    """The kernel where nothing is known of the shape: the newest architecture's that the device runs; of those the first. Raises ImportError where the tables are another release's."""
    data = _tables(data)
    best = None
    for row in data.KERNELS:
        if row[0] == contract and _runs(row, device) and (best is None or row[2] > best[2]):
            best = row
    decode = contract.startswith("antkv_decode_")
    # Kernels that look up are mostly faster spread, the others not.
    spread = decode and best is not None and (mode == "spread" or (mode == "fastest" and best[4] == 1))
    return Answer(best and best[1], 0, spread, "none", "default", None, None)


def find(contract: str, device: Device, *, batch: int, q_heads: int, kv_heads: int, tokens: int, q_len: int = 1, mode: str = "sequence", data=None) -> Answer:
    """The kernel and launch for a shape, as the host bounds it; always an answer, unless no kernel of the contract runs on the device. `data`: the module antkv_tables.

    batch and kv_heads are 1 to 65535, q_heads // kv_heads and q_len 1 to 16, tokens 1 to 2^30, as launches have them; a number beyond counts as the nearest bound.
    mode: one of MODES, ignored for ops other than decode. Raises ImportError where the tables are another release's."""
    batch, kv_heads, q_len, tokens = _clamp(batch, _MOST_GRID), _clamp(kv_heads, _MOST_GRID), _clamp(q_len, _MOST_Q_LEN), _clamp(tokens, _MOST_TOKENS)
    q_heads = kv_heads * _clamp(q_heads // kv_heads, _MOST_RATIO)
    data = _tables(data)
    names = [name for name, *_ in data.CONTRACTS]
    at = bisect_left(names, contract)
    if at < len(names) and names[at] == contract:
        _, columns, first, count = data.CONTRACTS[at]
        number = MODES.index(mode) if columns else 0
        fitting = [entry for entry in data.ENTRIES[first : first + count] if entry[3 + number] >= 0 and data.TABLES[entry[0]][1] <= device.arch]
        # What was modelled for one device says nothing of another one.
        fitting = [entry for entry in fitting if entry[1] != 2 or _match(data.TABLES[entry[0]], device) != _OTHER]
        for entry in sorted(fitting, key=_compare(data.TABLES, device)):
            answer = _answer(data, entry, columns, device, batch, q_heads, kv_heads, q_len, tokens, number)
            if answer:
                return answer
    return default(contract, device, mode=mode, data=data)
