// Start of a worker thread. Plain JavaScript: threads inherit no TypeScript loader, and tsx must be found from this package, not from the working directory.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');
