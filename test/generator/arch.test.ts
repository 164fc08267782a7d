// Tests generator/arch.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS, compareVersions, driverForToolkit, findArch, gencodeFlags, parseArchs } from '../../generator/arch.ts';
import { EnvironmentError, UsageError } from '../../generator/errors.ts';

const none = (): string[] => [];
const names = (text: string, native: () => readonly string[] = none): string[] => parseArchs(text, native).map((arch) => arch.name);

test('every spelling of an architecture is understood', () => {
  for (const text of ['sm80', 'sm_80', '80', '8.0', 'compute_80', 'SM80', ' sm80 ']) assert.equal(names(text), ['sm80'], text);
  assert.equal(names('sm80,sm_90,80'), ['sm80', 'sm90']);
  assert.equal(names('10.3'), ['sm103']);
});

test('native asks the machine', () => {
  assert.equal(names('native', () => ['9.0', '8.0']), ['sm90', 'sm80']);
  assert.throws(() => names('native', () => ['7.0']), (error: unknown) => error instanceof EnvironmentError && /7\.0/.test(error.message));
});

test('an unknown architecture gives the nearest names', () => {
  for (const text of ['sm81', 'sm_8', 'ampere', '', 'sm80,']) assert.throws(() => names(text), (error: unknown) => error instanceof UsageError && /sm80/.test(error.fix ?? ''), text);
});

test('the facts agree with each other', () => {
  for (const arch of ARCHS) {
    assert.is(arch.name, `sm${arch.capability.replace('.', '')}`);
    assert.is(arch.sharedPerSm - arch.sharedPerBlock, 1024, arch.name);
    assert.is(arch.threadsPerSm % 32, 0);
    assert.ok(arch.instructions.includes('cpAsync') && arch.instructions.includes('ldmatrix'));
    assert.ok(compareVersions(arch.minNvcc, '11.8') >= 0, 'movmatrix is of CUDA 11.8');
  }
  assert.is(findArch('sm80')?.sharedPerBlock, 163 * 1024);
  assert.is(findArch('sm89')?.sharedPerBlock, 99 * 1024);
  assert.is(findArch('sm90')?.sharedPerBlock, 227 * 1024);
  assert.not(findArch('sm80')?.instructions.includes('e4m3'));
  assert.equal(ARCHS.filter((arch) => arch.instructions.includes('wgmma')).map((arch) => arch.name), ['sm90']);
});

test('nvcc is asked for machine code and PTX', () => {
  assert.equal(gencodeFlags(findArch('sm80')!), ['-gencode', 'arch=compute_80,code=sm_80', '-gencode', 'arch=compute_80,code=compute_80']);
});

test('versions compare by number, and toolkits know their driver', () => {
  assert.ok(compareVersions('12.4', '12.10') < 0 && compareVersions('580.65.06', '580.65') > 0 && compareVersions('13.0', '13.0.0') === 0);
  assert.is(driverForToolkit('13.0.88'), '580.65');
  assert.is(driverForToolkit('12.7.1'), '560.28');
  assert.is(driverForToolkit('11.0'), undefined);
});

test.run();
