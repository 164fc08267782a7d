// The fp64 reference of every op: one page each, no tiles. It takes the op's own parameter struct with host pointers, and returns doubles instead of
// writing through the output pointers, so that errors are measured before any rounding. Meaning: CACHE.md and the comments of antkv.h.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "antkv.h"
#include "antkv_format.h"
#include "numeric.h"

namespace reference {

/// What score sums: P, P (1 - P), P (1 - P) |q|, P |v - o| |q| scale; the mean of P; what a key is by itself, scale |k|.
enum class Form { column, mass, massq, exact, saliency, norm };

/// What a kernel computes (generator/contract.ts).
struct Contract {
  antkv_format format{};
  Element element = Element::f16;  ///< of queries, exact rows and output
  Form form = Form::column;        ///< score only
  bool softcap = false;            ///< decode, score: scores are capped
  bool sink = false;               ///< decode only: learned sink logits join the softmax
};

struct Attention {
  std::vector<double> out;          ///< [rows, q_heads, d]; 0 for a row that sees nothing
  std::vector<double> lse;          ///< [rows, q_heads], natural; -inf for a row that sees nothing
  std::vector<double> ring_scores;  ///< [rows, q_heads, ring_rows]; decode: raw scores, -inf if unseen, NaN where decode does not write; combine: mass
};
Attention reference_decode(const Contract& contract, const antkv_decode_params& p);
Attention reference_combine(const Contract& contract, const antkv_combine_params& p);

/// One token that encode writes to a page.
struct EncodedToken {
  int batch, head, token;
  bool kept;                         ///< its bit in the bitmap
  std::vector<double> k, v;          ///< [d] what is coded: K before RoPE for "pre" contracts
  std::vector<uint32_t> k_code, v_code;  ///< [chunks] nearest centroid, ties to the lower entry; empty for an exact side
};
/// One row that encode writes to an anchor page, counted over the sequence's pages; token -1 empties it.
struct AnchorRow {
  int batch, head, row, token;
  std::vector<double> k, v;  ///< [d] K after RoPE
  double score = NAN;        ///< frozen beside the row; NaN where encode writes none
};
struct Encoding {
  std::vector<EncodedToken> tokens;
  std::vector<AnchorRow> anchors;
};
Encoding reference_encode(const Contract& contract, const antkv_encode_params& p);
/// |x| / |x_hat|, or 1 if x_hat is 0; x_hat is the decoded row.
double reference_gain(const std::vector<double>& x, const std::vector<double>& x_hat);

/// One row of a sequence's own anchor pages after append.
struct OwnRow {
  int token;      ///< -1: empty
  double score;   ///< frozen when it was chosen
  bool touched;   ///< append wrote it, if only to empty it again
  const uint8_t *k, *v;  ///< [d] halves, where the row came from: the ring, or the page itself
};
/// What append leaves of one sequence and KV head.
struct AppendedHead {
  int batch, head, slot;
  int coded_before, coded_after, committed, end;  ///< tokens; the ring holds coded_after ... end - 1
  bool folded;                                    ///< scores of the step before were added
  std::vector<const uint8_t*> k, v;               ///< [end - coded_after] halves of each token in the ring: old rows, then new ones
  std::vector<double> score;                      ///< [end - coded_after] column sums
  std::vector<int32_t> count;                     ///< [end - coded_after]
  std::vector<EncodedToken> encoded;              ///< tokens that went into pages
  std::vector<int> handed_back;                   ///< tokens of older pages whose bit is cleared
  std::vector<OwnRow> rows;                       ///< behind the inherited pages
};
struct Appended {
  std::vector<AppendedHead> heads;  ///< [batch, kv_heads]
  /// The least relative distance of two unequal scores of which one was kept and the other not, where scores were rounded: kernels may choose otherwise below some 1e-6.
  double margin;
};
Appended reference_append(const Contract& contract, const antkv_append_params& p);

/// [batch, kv_heads, score_stride]; NaN where score does not write (beyond the keys of a sequence). With accumulate p.scores are what it adds to.
std::vector<double> reference_score(const Contract& contract, const antkv_score_params& p);

struct Selection {
  std::vector<uint32_t> bitmap;  ///< [batch, kv_heads, keep_words]
  std::vector<int32_t> indices;  ///< [batch, kv_heads, max_anchors]
  std::vector<int32_t> count;    ///< [batch, kv_heads]
};
Selection reference_select(const antkv_select_params& p);

struct Unpacked {
  std::vector<double> k, v;  ///< [rows, kv_heads, d]; NaN where unpack need not write: a set bit whose anchor row is missing
};
Unpacked reference_unpack(const Contract& contract, const antkv_unpack_params& p);

/// What one (head, chunk) is after step 0, some steps 1 and a step 2.
struct Clusters {
  std::vector<double> centroids;  ///< [entries, channels], halves unless given ones never moved
  std::vector<double> losses;     ///< of each step 1, then what step 2 measures
  double energy;                  ///< sum of w |x|^2
  int reseeded;
  bool settled;
  /// The least by which one centroid was nearer than another, relative to what the distances are made of: below some 1e-6 kernels may choose otherwise.
  double margin;
};
/// [heads, chunks]; at most p.max_steps steps 1. Codes are k's.
std::vector<Clusters> reference_kmeans(const Contract& contract, const antkv_kmeans_params& p, int steps);

}  // namespace reference
