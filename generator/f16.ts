// Half-precision floats in plain numbers: Node 20 has no Float16Array.

const bits = new DataView(new ArrayBuffer(8));
// Adding and taking away 2^52 rounds a double below it to the nearest integer, ties to even.
const ROUND = 2 ** 52;
const roundEven = (x: number): number => x + ROUND - ROUND;

/** The bits of the half nearest to `x`, ties to even, in one rounding from double; beyond 65520 infinity, NaN is 0x7e00. */
export function toF16(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  bits.setFloat64(0, x);
  const sign = (bits.getUint8(0) & 0x80) << 8;
  const size = Math.abs(x);
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | roundEven(size * 2 ** 24); // subnormal; 1024 is the smallest normal number
  const exponent = ((bits.getUint16(0) >> 4) & 0x7ff) - 1023;
  // A mantissa of 2048 carries into the exponent, as it should.
  return sign | (((exponent + 15) << 10) + roundEven(size * 2 ** (10 - exponent)) - 1024);
}

// Reading is a table of all 65,536 values, made at first use.
let table: Float32Array | undefined;
function valuesOfF16(): Float32Array {
  if (table) return table;
  table = new Float32Array(65536);
  for (let half = 0; half < 65536; half++) {
    const exponent = (half >> 10) & 31;
    const mantissa = half & 1023;
    const size = exponent === 31 ? (mantissa ? NaN : Infinity) : exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25);
    table[half] = half & 0x8000 ? -size : size;
  }
  return table;
}

/** The value of a half given by its bits. */
export const fromF16 = (half: number): number => valuesOfF16()[half]!;

/** The values of halves, element by element. */
export function fromF16Array(halves: Uint16Array): Float32Array {
  const values = valuesOfF16();
  const out = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) out[i] = values[halves[i]!]!;
  return out;
}

/** The bits of numbers rounded to halves, element by element. */
export function toF16Array(numbers: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) out[i] = toF16(numbers[i]!);
  return out;
}

/** True if `half` is infinite or not a number. */
export const isSpecialF16 = (half: number): boolean => (half & 0x7c00) === 0x7c00;
