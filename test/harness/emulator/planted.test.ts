// Planted bugs: each must be caught by name, at the right place, under every fibre order; and correct code must not be.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, run } from './build.ts';

interface Line {
  readonly order: number;
  readonly code: number;
  readonly report: string;
}
interface Bug {
  readonly kind: string;
  readonly code?: number;
  readonly grid?: number;
  readonly shared?: number;
  readonly threads?: number;
  readonly words?: number;
  readonly set?: readonly string[];
  /** Function that holds the bug, if not the case's own. */
  readonly within?: string;
  /** What else the report must say. */
  readonly says?: RegExp;
}

/** A group is four warps; its columns take 6 KB. */
const GROUP = { threads: 128, shared: 6144, within: 'group_product' };

// Function of kernels/planted.cu -> what it must be called.
const BUGS: Readonly<Record<string, Bug>> = {
  missing_barrier: { kind: 'shared-race', says: /no block_barrier/ },
  missing_warp_barrier: { kind: 'shared-race', says: /no warp_barrier/ },
  missing_second_barrier: { kind: 'shared-race' },
  two_warps_write: { kind: 'shared-race', says: /store_shared .* store_shared/ },
  atomic_and_plain: { kind: 'shared-race', says: /atomic_add_shared/ },
  half_of_a_word: { kind: 'shared-race' },
  matrix_without_barrier: { kind: 'shared-race', says: /load_matrix_x4/ },
  tail_too_far: { kind: 'global-out-of-bounds', code: 700, words: 48, set: ['in=short'], says: /byte 192 of an allocation of 192 bytes/ },
  before_the_start: { kind: 'global-out-of-bounds', code: 700, words: 1, says: /4 bytes before an allocation/ },
  code_past_codebook: { kind: 'global-out-of-bounds', code: 700 },
  code_past_shared_codebook: { kind: 'shared-out-of-bounds', code: 700, shared: 1024, says: /1024 bytes launched/ },
  uninitialised: { kind: 'uninitialised-shared' },
  misaligned_shared: { kind: 'misaligned', code: 716, says: /load_shared of 8 bytes/ },
  misaligned_global: { kind: 'misaligned', code: 716, says: /load_global of 16 bytes/ },
  read_before_wait: { kind: 'async-early-read' },
  word_read_before_wait: { kind: 'async-early-read' },
  word_copied_past_the_end: { kind: 'global-out-of-bounds', code: 700, words: 62, set: ['in=short'], says: /4 bytes/ },
  wait_too_lax: { kind: 'async-early-read' },
  wait_without_barrier: { kind: '(async-early-read|shared-race)', says: /copy_async/ },
  uncommitted: { kind: 'async-early-read' },
  stage_reused: { kind: 'async-overwrite' },
  stage_refilled_too_early: { kind: '(shared-race|async-early-read)', says: /copy_async/ },
  source_overwritten: { kind: 'async-source-changed' },
  shuffle_in_a_branch: { kind: 'divergent-collective', says: /lanes 0-19 at shuffle .*\n.*lanes 20-31 returned/ },
  two_shuffles: { kind: 'divergent-collective', says: /lanes 0, 2, 4/ },
  barrier_after_return: { kind: 'divergent-barrier', says: /threads 61-63 returned/ },
  two_barriers: { kind: 'divergent-barrier', says: /threads 0-31 at block_barrier/ },
  mixed_collectives: { kind: 'divergent-collective', says: /lanes 7 at block_barrier/ },
  blocks_overlap: { kind: 'global-race', grid: 3, set: ['race=2'], says: /block \(\d, 0, 0\): blocks of one launch are not ordered/ },
  global_without_barrier: { kind: 'global-race', set: ['race=2'] },
  last_row_read_by_next_block: { kind: 'global-race', grid: 3, set: ['race=2'] },
  merge_without_release: { kind: 'global-race', grid: 3, set: ['race=2'], within: 'merge', says: /load_global .*store_global .*look for .*grid_fence before and after the atomic_add_global/ },
  merge_without_barrier: { kind: 'global-race', grid: 3, set: ['race=2'], within: 'merge', says: /load_global .*store_global/ },
  merge_without_acquire: { kind: 'global-race', grid: 3, set: ['race=2'], within: 'merge', says: /load_global .*store_global/ },
  merge_at_once_without_barrier: { kind: 'global-race', grid: 3, set: ['race=2'], within: 'merge_at_once', says: /load_global .*store_global .*atomic_add_acquire_release/ },
  merge_by_two_counters: { kind: 'global-race', grid: 3, set: ['race=2'], within: 'merge' },
  merge_by_a_flag: { kind: 'global-race', grid: 3, set: ['race=2'] },
  fence_before_the_store: { kind: 'global-race', grid: 3, set: ['race=2'], says: /load_global .*store_global/ },
  counter_read_plainly: { kind: 'global-race', set: ['race=2'], says: /atomic_add_global/ },
  once_after_a_store: { kind: 'global-race', set: ['race=2'], says: /load_global_once .* the read-only path/ },
  table_read_past_its_end: { kind: 'shared-out-of-bounds', code: 700, shared: 256, says: /load_shared of 16 bytes .*256 bytes launched/ },
  table_read_misaligned: { kind: 'misaligned', code: 716, says: /load_shared of 2 bytes/ },
  opaque_in_a_branch: { kind: 'divergent-collective', says: /lanes 0-19 at shuffle/ },
  bytes_in_a_branch: { kind: 'divergent-collective', says: /lanes 0-15 at mma_16x8x32_s8u8 .*\n.*lanes 16-31 at mma_16x8x32_s8s8/ },
  sparse_places_descend: { kind: 'mma_sparse', within: 'sparse', says: /places must be one ascending pair, the same for the whole row/ },
  sparse_places_repeat: { kind: 'mma_sparse', within: 'sparse' },
  sparse_places_vary: { kind: 'mma_sparse', within: 'sparse' },
  sparse_places_of_half_a_row: { kind: 'mma_sparse', within: 'sparse' },
  sparse_in_a_branch: { kind: 'divergent-collective', says: /lanes 0-15 at mma_sparse_16x8x64_u8s8 .*\n.*lanes 16-31 at mma_sparse_16x8x64_u8u8/ },
  vote_any_in_a_branch: { kind: 'divergent-collective', says: /lanes 0-23 at vote_ballot/ },
  uniform_of_lanes: { kind: 'not-uniform', says: /lanes differ in a value/ },
  shuffle_down_in_a_branch: { kind: 'divergent-collective', says: /lanes 0-30 at shuffle/ },
  group_unpublished: { ...GROUP, kind: 'group-unpublished', says: /without a group_mma_publish/ },
  group_unfenced: { ...GROUP, kind: 'group-unfenced' },
  group_uncommitted: { ...GROUP, kind: 'group-early-read', says: /group_mma_commit/ },
  group_unfinished: { ...GROUP, kind: 'group-unfinished' },
  group_operand_aside: { ...GROUP, kind: 'group-operand' },
  group_operand_overwritten: { ...GROUP, kind: 'async-source-changed' },
  group_without_a_warp: { ...GROUP, kind: 'divergent-group', says: /the four warps of a group must make the same/ },
  group_add_differs: { ...GROUP, kind: 'divergent-group', says: /add must be the same in all lanes/ },
  group_of_two_warps: { ...GROUP, threads: 64, kind: 'divergent-group', says: /the block has 64 threads/ },
  group_wait_too_lax: { ...GROUP, within: 'group_wait_too_lax', kind: 'group-early-read' },
  group_columns_replaced: { ...GROUP, within: 'group_columns_replaced', kind: 'async-source-changed' },
};
const GOOD = ['good_bytes', 'good_exchange', 'good_drain', 'good_uneven', 'good_merge', 'good_merge_at_once', 'good_merge_by_one_thread', 'good_sparse', 'good_words'];
const ORDERS = [0, 1, 2, 3, 5, 8, 13];

const read = (file: string): string => readFileSync(new URL(`./kernels/${file}`, import.meta.url), 'utf8');
const source = read('planted.cu');
const FILES = ['planted.cu', 'planted_blocks.h', 'planted_group.h', 'planted_matrix.h'];
/** Case number of a function of planted.cu; file, first and last line of it, or of `within`. */
function find(name: string, within = name): { which: number; file: string; from: number; to: number } {
  const which = Number(new RegExp(`case (\\d+): return ${name}\\(`).exec(source)?.[1] ?? NaN);
  const file = FILES.find((each) => read(each).includes(` ${within}(const`)) ?? 'planted.cu';
  const lines = read(file).split('\n');
  const from = lines.findIndex((line) => line.includes(` ${within}(const`)) + 1;
  const to = lines.findIndex((line, i) => i >= from - 1 && /\}$/.test(line) && (line === '}' || i === from - 1)) + 1;
  assert.ok(which >= 0 && from > 0 && to >= from, `${within} is not in planted.cu`);
  return { which, file, from, to };
}

const built = await build();

async function launch(name: string, { grid = 1, shared = 4096, threads = 64, words = 64, set = [] }: Partial<Bug>): Promise<Line[]> {
  const orders = ORDERS.map((order) => `order=${order}`);
  return run<Line>(built!, 'launch', [await built!.kernel('planted'), 'emu_planted', find(name).which, grid, threads, shared, words, ...orders, ...set]);
}

if (built) {
  for (const [name, bug] of Object.entries(BUGS)) {
    test(`caught: ${name}`, async () => {
      const { file, from, to } = find(name, bug.within);
      const answers = await launch(name, bug);
      assert.equal(answers.map(({ order }) => order), ORDERS);
      for (const { order, code, report } of answers) {
        assert.match(report, new RegExp(`^antkv emulator: ${bug.kind}: `), `order ${order}`);
        assert.is(code, bug.code ?? 719, report);
        assert.match(report, /kernel emu_planted, block \(\d, 0, 0\) of .*, thread \d+ \(warp \d, lane \d+\)/);
        const line = Number(new RegExp(`${file}:(\\d+)$`).exec(report)?.[1]);
        assert.ok(line >= from && line <= to, `order ${order}: line ${line} is not in ${bug.within ?? name}, ${from} to ${to}`);
        if (bug.says) assert.match(report, bug.says);
      }
    });
  }

  for (const name of GOOD) {
    test(`no false alarm: ${name}`, async () => {
      for (const set of [['race=1'], ['race=2'], ['race=0'], ['counters=1']]) {
        for (const { order, code, report } of await launch(name, { grid: 3, set })) assert.is(code, 0, `order ${order}, ${set}: ${report}`);
      }
    });
  }

  test('no false alarm: good_group', async () => {
    for (const set of [['race=1'], ['race=2'], ['race=0'], ['counters=1']]) {
      for (const { order, code, report } of await launch('good_group', { ...GROUP, set })) assert.is(code, 0, `order ${order}, ${set}: ${report}`);
    }
  });

  test('every case of planted.cu is listed here', () => {
    const cases = [...source.matchAll(/case \d+: return (\w+)\(/g)].map((found) => found[1]!);
    assert.equal(cases.filter((name) => name !== 'bank_conflict').sort(), [...Object.keys(BUGS), ...GOOD, 'good_group'].sort());
  });

  test('with race 0 the bugs that need no shadow are still caught', async () => {
    for (const name of ['tail_too_far', 'shuffle_in_a_branch', 'barrier_after_return', 'misaligned_shared']) {
      const bug = BUGS[name]!;
      for (const { report } of await launch(name, { ...bug, set: [...(bug.set ?? []), 'race=0'] })) assert.match(report, `antkv emulator: ${bug.kind}: `);
    }
  });

  test('with warp_order 1 a shuffle orders memory', async () => {
    for (const { report } of await launch('missing_warp_barrier', { set: ['warp_order=1'] })) assert.is(report, '');
    for (const { report } of await launch('missing_barrier', { set: ['warp_order=1'] })) assert.match(report, 'shared-race');
  });

  test('host, null and freed pointers', async () => {
    for (const [from, kind] of [['host', 'host-pointer'], ['null', 'null-pointer'], ['freed', 'use-after-free']]) {
      for (const { code, report } of await launch('code_past_codebook', { set: [`in=${from}`] })) {
        assert.match(report, `antkv emulator: ${kind}: `);
        assert.is(code, 700);
      }
    }
  });
}

test.run();
