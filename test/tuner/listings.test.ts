// Tests tuner/listings.ts: the profiler's command. What needs nvcc: listings.all.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ncuCommand } from '../../tuner/listings.ts';

test('the ncu command names kernel, sources, runner and request, quoted for a shell', () => {
  const command = ncuCommand('kernel', '/a b/runner', "/it's/request.jsonl", '/src');
  assert.match(command, /^ncu --set full /);
  assert.match(command, /--source-folders \/src --kernel-name kernel --launch-count 1 --export kernel/);
  assert.ok(command.endsWith(`'/a b/runner' < '/it'\\''s/request.jsonl'`), command);
});

test.run();
