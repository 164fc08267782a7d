// Driver calls answer as the real driver does, errors included, and say why.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { execa } from 'execa';
import { build, run } from './build.ts';

interface Call {
  readonly call: string;
  readonly code: number;
  readonly want: number;
  readonly kind: string;
  readonly report: string;
}

const built = await build();
if (built) {
  const kernel = await built.kernel('planted');
  test('codes and reports', async () => {
    const calls = await run<Call>(built, 'api', [kernel, 'emu_planted']);
    for (const { call, code, want, kind, report } of calls) {
      assert.is(code, want, `${call}: ${report}`);
      if (kind) assert.match(report, `antkv emulator: ${kind}: `, call);
    }
    assert.ok(calls.length > 55, `${calls.length} calls answered`);
  });

  test('ANTKV_EMU_ARCH chooses the limits', async () => {
    const launch = (arch: string, bytes: number) =>
      execa(built.host, [built.driver, 'launch', kernel, 'emu_planted', '99', '1', '64', String(bytes), '4'], { env: { ANTKV_EMU_ARCH: arch }, reject: false });
    for (const [arch, most] of [['80', 163], ['sm_86', 99], ['sm89', 99], ['90', 227]] as const) {
      assert.match((await launch(arch, most * 1024 + 1)).stdout, `shared-limit: ${most * 1024 + 1} bytes of dynamic shared memory; sm_${arch.replace(/\D/g, '')} has at most ${most * 1024}`);
      assert.match((await launch(arch, most * 1024)).stdout, 'shared-optin');
    }
    const unknown = await launch('70', 0);
    assert.is(unknown.exitCode, 3);
    assert.match(unknown.stderr, 'bad-arch: ANTKV_EMU_ARCH=70; choose 80, 86, 89 or 90');
  });
}

test.run();
