// Boards by name, for questions about a device that is not in this machine. What a runtime asks is the driver; this list is only for people.
import { ARCHS } from '../arch.ts';
import type { Identity } from './schema.ts';

const KB = 1024;
const MB = 1024 * KB;

const board = (cc: number, sms: number, sharedKb: number, l2Mb: number, busBits: number, memoryMhz: number): Identity => ({ cc, sms, sharedPerBlock: sharedKb * KB, l2Bytes: l2Mb * MB, busBits, memoryMhz });

/**
 * What the driver says of these boards, under the names that it gives them. H200: as it was read on one (harness/bench/records). A100 of 40 GB: as users print deviceQuery of
 * the CUDA samples. The others were not read on a device: whitepapers and data sheets, the memory clock being that which makes up the bandwidth of the data sheet with the
 * width of the bus (2039 and 3352 GB/s). Where one is wrong, "gen table why --device NAME" takes a table of that very board for a sibling's; look-ups ask the driver.
 */
export const BOARDS: Readonly<Record<string, Identity>> = {
  'NVIDIA A100-SXM4-80GB': board(80, 108, 163, 40, 5120, 1593),
  'NVIDIA A100-SXM4-40GB': board(80, 108, 163, 40, 5120, 1215),
  'NVIDIA A100-PCIE-40GB': board(80, 108, 163, 40, 5120, 1215),
  'NVIDIA H100 80GB HBM3': board(90, 132, 227, 50, 5120, 2619),
  'NVIDIA H200': board(90, 132, 227, 60, 6144, 3201),
};

/** The usual part of an architecture. Its memory is not known here: no table is of exactly this device. */
export function usualPart(arch: string): Identity | undefined {
  const found = ARCHS.find(({ name }) => name === arch);
  return found?.part && { cc: Number(arch.slice(2)), sms: found.part.sms, sharedPerBlock: found.sharedPerBlock, l2Bytes: found.part.l2Bytes, busBits: 0, memoryMhz: 0 };
}
