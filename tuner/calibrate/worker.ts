// A thread that does tasks until it is ended; started by worker.mjs.
import { parentPort } from 'node:worker_threads';
import { perform, type Task } from './task.ts';

parentPort!.on('message', (task: Task) => parentPort!.postMessage(perform(task)));
