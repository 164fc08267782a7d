// Which query rows stand for the older ones where `score` takes a sample. The twin of antkv_sample_rows (templates/antkv_launch.h).

/** Wellons, lowbias32. */
function hash(x: number): number {
  let y = x >>> 0;
  y = Math.imul(y ^ (y >>> 16), 0x7feb352d);
  y = Math.imul(y ^ (y >>> 15), 0x846ca68b);
  return (y ^ (y >>> 16)) >>> 0;
}

/**
 * A sample of `count` of the rows 0 ... older - 1, ascending; every set of as many rows is as likely, by `seed` (32 bits). All of them if there are fewer. Row r is taken,
 * as Knuth's algorithm S does, if its draw of 24 bits, a hash of seed and r, falls below (rows still wanted) / (rows still there). `older` is below 2^28, so that
 * the products are exact.
 */
export function sampleRows(seed: number, older: number, count: number): number[] {
  const key = hash(seed);
  const rows: number[] = [];
  for (let row = 0; row < older && rows.length < count; row++) {
    const draw = hash(key + row) >>> 8;
    if (draw * (older - row) < (count - rows.length) * 2 ** 24) rows.push(row);
  }
  return rows;
}
