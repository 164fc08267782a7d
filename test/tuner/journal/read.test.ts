// Tests tuner/journal/: what a writer leaves, a reader reads, whatever cut it short; and merging is commutative, associative and idempotent.
import fc from 'fast-check';
import { execa } from 'execa';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EnvironmentError, InputError } from '../../../generator/errors.ts';
import { journalText, mergeLines, setDigest } from '../../../tuner/journal/merge.ts';
import { eventsOf, isJournal, parseJournal, readJournal } from '../../../tuner/journal/read.ts';
import { complete, openJournal, type JournalOptions } from '../../../tuner/journal/write.ts';
import { stableDigest, stableText } from '../../../generator/stable.ts';
import { temporaryFolder } from '../../folder.ts';
import { sweepEvents } from '../../fixtures/sweep.ts';

const HEADER = { version: '0.1.0', command: ['tune'], seed: 1, tunedFor: 'the default grid' };
const options = (writer = 'local', begin = 0): JournalOptions => {
  let now = Date.UTC(2030, 0, 1) + begin;
  return { writer, header: HEADER, now: () => (now += 1000) };
};
const probe = (us: number) => ({ event: 'probe' as const, environment: '0123456789abcdef', session: 'a', us, mhz: null, celsius: null });
const fileOf = (): string => join(temporaryFolder(), 'deep', 'tune.jsonl');

test('what was written is read, in order, with id, time and writer', async () => {
  const path = fileOf();
  const journal = await openJournal(path, options());
  await Promise.all([1, 2, 3].map((us) => journal.write(probe(us))));
  await journal.close();
  const { lines, torn } = readJournal(path);
  assert.is(torn, 0);
  const [header, ...rest] = eventsOf(lines);
  assert.is(header!.event, 'header');
  assert.equal(rest.map((event) => [event.event, event.writer, event.event === 'probe' && event.us]), [['probe', 'local', 1], ['probe', 'local', 2], ['probe', 'local', 3]]);
  assert.is(rest[0]!.at, '2030-01-01T00:00:02.000Z');
  assert.ok(isJournal(readFileSync(path, 'utf8')) && !isJournal('{"schema": 1}\n') && !isJournal('{\n'));
});

test('cut at any byte, a journal reads as far as it is whole, and goes on from there', async () => {
  const path = fileOf();
  const journal = await openJournal(path, options());
  await journal.write(probe(1));
  await journal.write(probe(2));
  await journal.close();
  const whole = readFileSync(path);
  for (let bytes = 0; bytes < whole.length; bytes += 7) {
    writeFileSync(path, whole.subarray(0, bytes));
    const { lines, torn } = readJournal(path);
    assert.is(lines.length, whole.subarray(0, bytes).toString().split('\n').length - 1);
    assert.is(torn, bytes - Buffer.byteLength(journalText(lines)));
    const again = await openJournal(path, options('local', 60_000));
    assert.is(again.lines.length, lines.length);
    await again.write(probe(3));
    await again.close();
    const now = readJournal(path);
    assert.is(now.torn, 0);
    assert.is(eventsOf(now.lines).at(-1)!.event, 'probe');
    assert.is(now.lines.length, Math.max(lines.length, 1) + 1, 'a journal of which not even the header was whole begins again');
  }
});

test('zeros that a crash left behind the last line are cut off', async () => {
  const path = fileOf();
  await (await openJournal(path, options())).close();
  appendFileSync(path, Buffer.alloc(100));
  assert.is(readJournal(path).torn, 100);
  await (await openJournal(path, options())).close();
  assert.is(readJournal(path).torn, 0);
});

test('a file that is no journal is refused and left as it is, with and without a newline', async () => {
  for (const text of ['my notes', '{"at":"2030-01-01","mine":1}', '{"axes": 1', '7', 'my notes\n', '{"schema": 1}\n']) {
    const path = join(temporaryFolder(), 'notes');
    writeFileSync(path, text);
    await openJournal(path, options()).then(() => assert.unreachable(), (error: unknown) => assert.ok(error instanceof InputError && error.fix !== undefined, text));
    assert.is(readFileSync(path, 'utf8'), text);
  }
});

test('a name that is too long, and a device, are said with their fix', async () => {
  for (const path of [join(temporaryFolder(), 'x'.repeat(300)), '/dev/full']) await openJournal(path, options()).then(() => assert.unreachable(), (error: unknown) => assert.ok(error instanceof EnvironmentError, path));
});

test('any other line that is wrong is an error with its number', () => {
  const lines = sweepEvents({ problems: [] }).map(stableText);
  const parse = (change: (copy: string[]) => void): unknown => {
    const copy = [...lines];
    change(copy);
    return parseJournal(`${copy.join('\n')}\n`, 'a.jsonl');
  };
  const refuses = (change: (copy: string[]) => void, words: RegExp): void => assert.throws(() => parse(change), (error: Error) => error instanceof InputError && words.test(error.message) && (error.fix ?? '') !== '', String(words));
  refuses((copy) => (copy[1] = '{"half'), /^a\.jsonl:2 is not JSON/);
  refuses((copy) => (copy[2] = '{}'), /^a\.jsonl:3 is not an event/);
  refuses((copy) => (copy[2] = copy[2]!.replace('"registers":128', '"registers":12')), /^a\.jsonl:3 was altered: its digest is [0-9a-f]{16}/);
  refuses((copy) => void copy.shift(), /^a\.jsonl:1 is no header/);
  const sealed = (event: object): string => stableText({ ...event, id: stableDigest(event) });
  const at = { at: '2030-01-01T00:00:00.000Z', writer: 'local' };
  refuses((copy) => (copy[0] = sealed({ event: 'header', schema: 2, ...HEADER, ...at })), /begins a journal of schema 2, this antkv reads 1/);
  refuses((copy) => copy.push(sealed({ event: 'probe', us: 'fast', ...at })), /:6: probe: environment: /);
});

test('events and fields of later versions are kept as they are, and not understood', () => {
  const at = { at: '2030-01-01T00:00:00.000Z', writer: 'local' };
  const sealed = (event: object): string => stableText({ ...event, id: stableDigest(event) });
  const text = [sealed({ event: 'header', schema: 1, ...HEADER, ...at, extra: 7 }), sealed({ event: 'dream', of: ['sheep'], ...at })].join('\n') + '\n';
  const { lines } = parseJournal(text, 'a.jsonl');
  assert.equal(lines.map(({ event }) => event?.event), ['header', undefined]);
  assert.not('extra' in lines[0]!.event!);
  assert.is(journalText(mergeLines([lines])), text);
});

test('merging: the same text and digest for any split of the events, in any order, any number of times', () => {
  const all = parseJournal(sweepEvents({ rounds: 1 }).map((event) => `${stableText(event)}\n`).join(''), 'a').lines;
  const want = journalText(mergeLines([all]));
  const parts = fc.array(fc.shuffledSubarray([...all]), { maxLength: 4 });
  fc.assert(fc.property(parts, fc.shuffledSubarray([...all], { minLength: all.length }), (some, whole) => {
    const merged = mergeLines([...some, whole]);
    return journalText(merged) === want && journalText(mergeLines([merged, merged])) === want && setDigest(merged) === setDigest(all);
  }), { numRuns: 50 });
  fc.assert(fc.property(parts, (some) => journalText(mergeLines(some)) === journalText(mergeLines([mergeLines(some.slice(1)), ...some.slice(0, 1)]))), { numRuns: 50 });
  const shuffled = { ...all[3]!, text: JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(all[3]!.text) as object).reverse())) };
  assert.is(journalText(mergeLines([[shuffled], all])), want, 'the order of members does not show');
  assert.is(journalText(mergeLines([all, [shuffled]])), want);
});

test('a merged journal is a journal', () => {
  const { lines } = parseJournal([...sweepEvents({ problems: [] }), ...sweepEvents({ problems: [], begin: 0, writer: '0001.0' })].map((event) => `${stableText(event)}\n`).join(''), 'a');
  const merged = parseJournal(journalText(mergeLines([lines])), 'merged').lines;
  assert.equal(merged.map(({ event }) => event!.event).slice(0, 3), ['header', 'header', 'environment']);
});

test('a draft that its schema refuses is never written', () => assert.throws(() => complete({ ...probe(1), us: NaN } as never, 'local', 0)));

test('a full disk is said with its fix, and leaves whole lines', async () => {
  const path = join(temporaryFolder(), 'tune.jsonl');
  const module = new URL('../../../tuner/journal/write.ts', import.meta.url).pathname;
  const body = `const { openJournal } = await import(${JSON.stringify(module)});
    const journal = await openJournal(${JSON.stringify(path)}, { writer: 'local', header: ${JSON.stringify(HEADER)}, now: () => 0 });
    try { for (;;) await journal.write(${JSON.stringify({ ...probe(1), session: 'x'.repeat(600) })}); } catch (error) { console.log(error.name, error.message, '|', error.fix); }
    await journal.write(${JSON.stringify(probe(2))}).then(() => console.log('written'), (error) => console.log('again', error.name));
    await journal.close();`;
  const { stdout } = await execa('bash', ['-c', `ulimit -f 4; exec "${process.execPath}" --import tsx --input-type=module -e "$BODY"`], { env: { BODY: body }, timeout: 60_000 });
  assert.match(stdout, /^EnvironmentError no space left to write \S+tune\.jsonl \| free some space and run the same command again/);
  const { lines, torn } = readJournal(path);
  assert.ok(lines.length >= 4 && torn === 0, `${lines.length} lines, ${torn} torn`);
  assert.match(stdout, /(written|again EnvironmentError)$/);
});

test('a folder that cannot be written to is said with its fix', async () => {
  try {
    await openJournal('/proc/no/such/tune.jsonl', options());
    assert.unreachable();
  } catch (error) {
    assert.instance(error, EnvironmentError);
    assert.match((error as EnvironmentError).message, /cannot write \/proc\/no\/such\/tune\.jsonl \(ENOENT\)/);
  }
});

test.run();
