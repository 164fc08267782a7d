# Generated file. Do not edit.
#   template  generator/bindings/table.ts
#   remake    npx gen
"""Tuning tables and kernels of this folder, for antkv_table.py."""

TABLES_VERSION = 1

# contract, symbol, architecture (80: sm_80), bytes of dynamic shared memory, decode by look-up
KERNELS = (
    ("antkv_combine_d128_f16", "antkv_combine_d128_f16__sm80_w4", 80, 0, 0),
    ("antkv_combine_d64_f16", "antkv_combine_d64_f16__sm80_w4", 80, 0, 0),
    ("antkv_decode_d128_k16c8b_v16c8bq8_f16_gain", "antkv_decode_d128_k16c8b_v16c8bq8_f16_gain__sm80_lookup_w8_s2_c2", 80, 133728, 1),
    ("antkv_decode_d128_k16c8b_v16c8bq8_f16_gain", "antkv_decode_d128_k16c8b_v16c8bq8_f16_gain__sm86_w4_t64_s2", 86, 37184, 0),
    ("antkv_decode_d128_k16c8b_v16c8bq8_f16_gain", "antkv_decode_d128_k16c8b_v16c8bq8_f16_gain__sm90_lookup_w8_s2_c4", 90, 199264, 1),
    ("antkv_decode_d128_k16c8b_v16c8bq8_f16_gain_n4", "antkv_decode_d128_k16c8b_v16c8bq8_f16_gain_n4__sm80_lookup_w16_s2_c2", 80, 133648, 1),
    ("antkv_decode_d128_k16c8b_v16c8bq8_f16_gain_n4", "antkv_decode_d128_k16c8b_v16c8bq8_f16_gain_n4__sm86_w4_t64_s2", 86, 37184, 0),
    ("antkv_decode_d128_k16c8b_v16c8bq8_f16_gain_n4", "antkv_decode_d128_k16c8b_v16c8bq8_f16_gain_n4__sm90_lookup_w16_s2_c4", 90, 199184, 1),
    ("antkv_decode_d128_k2c8bq8_v2c8bq8_f16", "antkv_decode_d128_k2c8bq8_v2c8bq8_f16__sm80_lookup_w8_s2_c2", 80, 166240, 1),
    ("antkv_decode_d128_k2c8bq8_v2c8bq8_f16", "antkv_decode_d128_k2c8bq8_v2c8bq8_f16__sm86_w4_t64_s2", 86, 51264, 0),
    ("antkv_decode_d128_k2c8bq8_v2c8bq8_f16", "antkv_decode_d128_k2c8bq8_v2c8bq8_f16__sm90_lookup_w8_s2_c4", 90, 231776, 1),
    ("antkv_decode_d128_k2c8bq8_v2c8bq8_f16_n4", "antkv_decode_d128_k2c8bq8_v2c8bq8_f16_n4__sm80_lookup_w8_s2_c2", 80, 149008, 1),
    ("antkv_decode_d128_k2c8bq8_v2c8bq8_f16_n4", "antkv_decode_d128_k2c8bq8_v2c8bq8_f16_n4__sm86_w4_t64_s2", 86, 51264, 0),
    ("antkv_decode_d128_k2c8bq8_v2c8bq8_f16_n4", "antkv_decode_d128_k2c8bq8_v2c8bq8_f16_n4__sm90_lookup_w8_s2_c4", 90, 214544, 1),
    ("antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain", "antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain__sm80_w4_t64_s2", 80, 43328, 0),
    ("antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain", "antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain__sm90_lookup_w8_s1_c2", 90, 170848, 1),
    ("antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4", "antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm80_lookup_w8_s2_c2", 80, 153616, 1),
    ("antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4", "antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm86_w4_t64_s2", 86, 43328, 0),
    ("antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4", "antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4", 90, 219152, 1),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_gain", "antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm80_lookup_w8_s2_c2", 80, 166496, 1),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_gain", "antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm86_w4_t64_s2", 86, 39232, 0),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_gain", "antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm90_lookup_w8_s2_c4", 90, 232032, 1),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4", "antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4__sm80_lookup_w16_s2_c2", 80, 133648, 1),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4", "antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4__sm86_w4_t64_s2", 86, 39232, 0),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4", "antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w16_s2_c4", 90, 199184, 1),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain", "antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_s2", 80, 39232, 0),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain", "antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm90_lookup_w8_s1_c2", 90, 170848, 1),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4", "antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm80_lookup_w8_s2_c2", 80, 153616, 1),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4", "antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm86_w4_t64_s2", 86, 39232, 0),
    ("antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4", "antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4", 90, 219152, 1),
    ("antkv_decode_d128_kf16_vf16_f16", "antkv_decode_d128_kf16_vf16_f16__sm80_w4_t64_s2", 80, 69696, 0),
    ("antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain", "antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_lookup_w8_s1_c4", 80, 121184, 1),
    ("antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain", "antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm86_lookup_w8_s1_c2", 86, 88416, 1),
    ("antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain", "antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm90_lookup_w8_s1_c4", 90, 121184, 1),
    ("antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4", "antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm80_lookup_w8_s2_c4", 80, 112144, 1),
    ("antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4", "antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm86_lookup_w8_s2_c2", 86, 79376, 1),
    ("antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4", "antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4", 90, 112144, 1),
    ("antkv_encode_d128_k16c8b_v16c8bq8_f16_gain", "antkv_encode_d128_k16c8b_v16c8bq8_f16_gain__sm80_w4_t32", 80, 18816, 0),
    ("antkv_encode_d128_k2c8bq8_v2c8bq8_f16", "antkv_encode_d128_k2c8bq8_v2c8bq8_f16__sm80_w4_t32", 80, 34944, 0),
    ("antkv_encode_d128_k4c8b_v4c8bq8_f16_pre_gain", "antkv_encode_d128_k4c8b_v4c8bq8_f16_pre_gain__sm80_w4_t32", 80, 25728, 0),
    ("antkv_encode_d128_k8c8b_v8c8bq8_f16_gain", "antkv_encode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32", 80, 21120, 0),
    ("antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain", "antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32", 80, 21120, 0),
    ("antkv_encode_d128_kf16_vf16_f16", "antkv_encode_d128_kf16_vf16_f16__sm80_w4_t32", 80, 16800, 0),
    ("antkv_encode_d64_k8c8b_v8c8bq8_f16_pre_gain", "antkv_encode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32", 80, 10624, 0),
    ("antkv_score_d128_f16", "antkv_score_d128_f16__sm80_w4_t64", 80, 34816, 0),
    ("antkv_score_d128_f16_exact", "antkv_score_d128_f16_exact__sm80_w4_t64", 80, 34816, 0),
    ("antkv_score_d64_f16", "antkv_score_d64_f16__sm80_w4_t64", 80, 18432, 0),
    ("antkv_score_d64_f16_exact", "antkv_score_d64_f16_exact__sm80_w4_t64", 80, 18432, 0),
    ("antkv_select", "antkv_select__sm80_w8", 80, 1096, 0),
    ("antkv_unpack_d128_k16c8b_v16c8bq8_f16_gain", "antkv_unpack_d128_k16c8b_v16c8bq8_f16_gain__sm80_w4_t32", 80, 35968, 0),
    ("antkv_unpack_d128_k2c8bq8_v2c8bq8_f16", "antkv_unpack_d128_k2c8bq8_v2c8bq8_f16__sm80_w4_t32", 80, 43008, 0),
    ("antkv_unpack_d128_k4c8b_v4c8bq8_f16_pre_gain", "antkv_unpack_d128_k4c8b_v4c8bq8_f16_pre_gain__sm80_w4_t32", 80, 39040, 0),
    ("antkv_unpack_d128_k8c8b_v8c8bq8_f16_gain", "antkv_unpack_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t32", 80, 36992, 0),
    ("antkv_unpack_d128_k8c8b_v8c8bq8_f16_pre_gain", "antkv_unpack_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32", 80, 36992, 0),
    ("antkv_unpack_d128_kf16_vf16_f16", "antkv_unpack_d128_kf16_vf16_f16__sm80_w4_t32", 80, 67584, 0),
    ("antkv_unpack_d64_k8c8b_v8c8bq8_f16_pre_gain", "antkv_unpack_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t32", 80, 19584, 0),
)

# file, architecture of its kernels, device (cc, sms, sharedPerBlock, l2Bytes, busBits, memoryMhz), axes (first and count of streams, of tokens), regret on siblings, on other devices
TABLES = ()

# name, columns of a block (0 for ops other than decode), first entry, entries
CONTRACTS = ()

# table, origin (0 measured, 1 copied, 2 modelled), first choice, first row of cells of each mode (-1 without)
ENTRIES = ()

# row of KERNELS, CTAs, spread, merge, stale
CHOICES = ()

# the first cell of each row of cells
LINES = ()

# choice, from its entry's first << 16 | quality (0 measured, 1 interpolated, 2 modelled, 3 default) << 14 | expected regret in thousandths
CELLS = ()
