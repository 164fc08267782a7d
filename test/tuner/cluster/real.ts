// A Slurm controller and two node daemons on this machine, for tests: Debian's packages, unpacked into a temporary folder (3 MB), nothing installed, no munge.
import { execa } from 'execa';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { temporaryFolder } from '../../folder.ts';

const PACKAGES = ['slurmctld', 'slurmd', 'slurm-client', 'slurm-wlm-basic-plugins', 'libhwloc15', 'libnuma1'];
const NODES = ['n1', 'n2'] as const;
export type NodeName = (typeof NODES)[number];

/** Why there is no Slurm here, in words. */
export class NoSlurm extends Error {}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve) => { const server = createServer().listen(0, '127.0.0.1', () => resolve(server)); })));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Unpacks the packages; the folder that is their root. Throws NoSlurm. */
async function unpack(): Promise<string> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) throw new NoSlurm('node daemons must be started as root, on Linux');
  const dir = temporaryFolder();
  // apt may know of a package or have it under another name: what counts is whether the programs start.
  for (const name of PACKAGES) await execa('apt-get', ['download', '-o', 'APT::Sandbox::User=root', name], { cwd: dir, reject: false, timeout: 120_000 });
  for (const file of readdirSync(dir).filter((name) => name.endsWith('.deb'))) await execa('dpkg', ['-x', join(dir, file), dir], { reject: false });
  if (!existsSync(join(dir, 'usr/sbin/slurmctld-wlm'))) throw new NoSlurm('apt-get download knows no slurmctld here');
  return dir;
}

const pidsIn = (): number[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number);
const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};
const parentOf = (pid: number): number => Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
const programOf = (pid: number): string => {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`));
  } catch {
    return '';
  }
};
/** Ends one process, by its number. */
export const kill = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
};

const startDaemon = (program: string, words: readonly string[], env: Record<string, string>, cwd: string) => execa(program, words, { env, reject: false, stdout: 'ignore', stderr: 'ignore', cwd });

export class RealSlurm {
  readonly env: Record<string, string>;
  private readonly root: string;
  private readonly state: string;
  private readonly daemons = new Map<string, ReturnType<typeof startDaemon>>();

  private constructor(root: string, ports: readonly number[], maxArraySize: number) {
    this.root = root;
    this.state = temporaryFolder();
    const libraries = join(root, 'usr/lib/x86_64-linux-gnu');
    const plugins = existsSync(libraries) ? join(libraries, 'slurm-wlm') : join(root, 'usr/lib/aarch64-linux-gnu/slurm-wlm');
    this.env = {
      LD_LIBRARY_PATH: `${plugins}:${join(plugins, '..')}`, SLURM_CONF: join(this.state, 'slurm.conf'), PATH: `${join(root, 'usr/bin')}:${process.env['PATH']}`,
      // In the environment of every job: what is ours to end.
      ANTKV_TEST_CLUSTER: this.state,
    };
    mkdirSync(join(this.state, 'controller'));
    const line = (words: Record<string, string | number>): string => Object.entries(words).map(([name, value]) => `${name}=${value}`).join('\n');
    writeFileSync(this.env['SLURM_CONF']!, [
      line({
        ClusterName: 'test', SlurmctldHost: `${hostname()}(127.0.0.1)`, SlurmctldPort: ports[0]!, SlurmUser: 'root', AuthType: 'auth/none', CredType: 'cred/none', PluginDir: plugins, MpiDefault: 'none',
        ProctrackType: 'proctrack/linuxproc', TaskPlugin: 'task/none', JobAcctGatherType: 'jobacct_gather/none', SelectType: 'select/cons_tres', SelectTypeParameters: 'CR_CPU', GresTypes: 'gpu',
        StateSaveLocation: join(this.state, 'controller'), SlurmctldPidFile: join(this.state, 'controller.pid'), SlurmctldLogFile: join(this.state, 'controller.log'),
        SlurmdSpoolDir: join(this.state, 'spool-%n'), SlurmdPidFile: join(this.state, '%n.pid'), SlurmdLogFile: join(this.state, '%n.log'), SlurmdParameters: 'config_overrides',
        ReturnToService: 2, SlurmdTimeout: 15, KillWait: 3, MinJobAge: 300, MaxArraySize: maxArraySize, SchedulerParameters: 'bf_interval=1,sched_min_interval=1',
      }),
      ...NODES.map((name, i) => `NodeName=${name} NodeHostname=${hostname()} NodeAddr=127.0.0.1 Port=${ports[1 + i]} CPUs=2 State=UNKNOWN`),
      `PartitionName=main Nodes=${NODES.join(',')} Default=YES State=UP`,
      '',
    ].join('\n'));
    writeFileSync(join(this.state, 'gres.conf'), NODES.map((name) => `NodeName=${name} Name=gpu Count=2\n`).join(''));
  }

  /** Starts all, and waits until both nodes take jobs. Throws NoSlurm where they do not. */
  static async start(maxArraySize: number): Promise<RealSlurm> {
    const slurm = new RealSlurm(await unpack(), await freePorts(3), maxArraySize);
    process.once('exit', () => slurm.killAll());
    slurm.daemon('controller', 'slurmctld-wlm', []);
    for (const node of NODES) slurm.startNode(node);
    for (const node of NODES) await slurm.ready(node);
    await slurm.giveGpus();
    return slurm;
  }

  private daemon(name: string, program: string, words: readonly string[]): void {
    this.daemons.set(name, startDaemon(join(this.root, 'usr/sbin', program), ['-D', '-f', this.env['SLURM_CONF']!, ...words], this.env, this.state));
  }

  startNode(node: NodeName): void {
    this.daemon(node, 'slurmd-wlm', ['-N', node, '-d', join(this.root, 'usr/sbin/slurmstepd-wlm')]);
  }

  async ready(node: NodeName): Promise<void> {
    for (let i = 0; i < 60; i++) {
      const shown = await this.run('scontrol', ['show', 'node', node]);
      if (/State=(IDLE|MIXED|ALLOCATED)\s/.test(shown)) return;
      await setTimeout(500);
    }
    throw new NoSlurm(`node ${node} does not come up: ${read(join(this.state, `${node}.log`)).split('\n').slice(-4).join(' ')} ${read(join(this.state, 'controller.log')).split('\n').slice(-4).join(' ')}`);
  }

  /** The packages read no Gres= of slurm.conf. Told at run time, jobs may ask for it, until the node registers again. */
  giveGpus = (): Promise<string> => this.run('scontrol', ['update', `nodename=${NODES.join(',')}`, 'gres=gpu:2']);
  /** Without them again. A node that registered meanwhile was drained for reporting fewer than it was told of, and one that was slow to answer is down: both come back. */
  async dropGpus(): Promise<void> {
    const name = `nodename=${NODES.join(',')}`;
    await this.run('scontrol', ['update', name, 'gres=']);
    await this.run('scontrol', ['update', name, 'state=resume']);
    for (const node of NODES) await this.ready(node);
  }

  /** What a client program prints. */
  async run(program: string, words: readonly string[]): Promise<string> {
    const { stdout, stderr } = await execa(join(this.root, 'usr/bin', program), words, { env: this.env, reject: false });
    return `${stdout}\n${stderr}`;
  }

  /** Array elements that wait or run: base number, index, state, node. */
  async queue(): Promise<{ id: string; job: string; name: string; state: string; node: string }[]> {
    const text = await this.run('squeue', ['--noheader', '--array', '--format=%i|%A|%j|%T|%N']);
    return text.trim().split('\n').filter((line) => line.includes('|')).map((line) => {
      const [id, job, name, state, node] = line.split('|') as [string, string, string, string, string];
      return { id, job, name, state, node };
    });
  }

  /** Processes of jobs, on one node or all. */
  private jobProcesses(node?: string): number[] {
    return pidsIn().filter((pid) => {
      const environment = read(`/proc/${pid}/environ`).split('\0');
      return environment.includes(`ANTKV_TEST_CLUSTER=${this.state}`) && environment.some((word) => word.startsWith('SLURM_JOB_ID=')) && (node === undefined || environment.includes(`SLURMD_NODENAME=${node}`));
    });
  }

  /** Worker processes of a job: node with `--task` among its words. */
  workersOf(job: string): number[] {
    return this.jobProcesses().filter((pid) => programOf(pid).startsWith('node') && read(`/proc/${pid}/environ`).split('\0').includes(`SLURM_JOB_ID=${job}`) && read(`/proc/${pid}/cmdline`).split('\0').includes('--task'));
  }

  /** Requeued jobs wait two minutes before they begin again; not here. */
  async hurry(): Promise<void> {
    for (const { id } of (await this.queue()).filter(({ state, name }) => state === 'PENDING' && name !== 'antkv-merge')) await this.run('scontrol', ['update', `jobid=${id}`, 'starttime=now']);
  }

  /** The power goes: daemon, step daemons and jobs of a node end at once, and tell nobody. */
  loseNode(node: NodeName): void {
    this.daemons.get(node)?.kill('SIGKILL');
    const jobs = this.jobProcesses(node);
    const steps = new Set(jobs.map(parentOf).filter((pid) => programOf(pid).startsWith('slurmstepd')));
    for (const pid of [...steps, ...jobs]) kill(pid);
  }

  private killAll(): void {
    for (const node of NODES) this.loseNode(node);
    this.daemons.get('controller')?.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.run('scancel', ['--user=root']);
    this.killAll();
    await Promise.all(this.daemons.values());
  }
}
