// The GPUs of this machine, as nvidia-smi tells.
import { execa } from 'execa';
import { EnvironmentError } from '../generator/errors.ts';

export interface Device {
  readonly name: string;
  /** Compute capability, `8.0`. */
  readonly capability: string;
  readonly driver: string;
}

/** Every GPU, or an empty list where there is no driver. */
export async function findDevices(): Promise<Device[]> {
  const { stdout, failed } = await execa('nvidia-smi', ['--query-gpu=name,compute_cap,driver_version', '--format=csv,noheader'], { reject: false, timeout: 20_000 });
  if (failed) return [];
  return stdout.split('\n').flatMap((line) => {
    const [name, capability, driver] = line.split(',').map((word) => word.trim());
    return name && capability && driver ? [{ name, capability, driver }] : [];
  });
}

/** Compute capabilities for `--arch native`. Throws EnvironmentError if there is no GPU. */
export async function nativeCapabilities(): Promise<string[]> {
  const devices = await findDevices();
  if (devices.length === 0) throw new EnvironmentError('--arch native: nvidia-smi finds no GPU', 'name the architecture instead, for example --arch sm80');
  return [...new Set(devices.map(({ capability }) => capability))];
}
