#!/usr/bin/env node
// The executable. Plain JavaScript up to its first import, so that an old Node and a missing node_modules get one clear line.
const [major, minor] = process.versions.node.split('.').map(Number);

/** @param {string} message @param {string} fix */
function stop(message, fix) {
  console.error(`gen: ${message}\n  fix: ${fix}`);
  process.exit(3);
}

if (major < 20 || (major === 20 && minor < 19)) stop(`Node ${process.versions.node} is too old`, 'install Node 20.19 or newer');

const missing = (name) => stop(`${name} is not installed`, 'run "npm ci" in the folder of package.json');
const tsx = await import('tsx/esm/api').catch((error) => (error.code === 'ERR_MODULE_NOT_FOUND' ? missing('tsx') : Promise.reject(error)));

// register, not tsImport: worker threads and lazy imports of TypeScript work as well.
tsx.register();
const { main } = await import('./cli/main.ts').catch((error) => {
  const name = error.code === 'ERR_MODULE_NOT_FOUND' && /Cannot find package '([^']+)'/.exec(error.message)?.[1];
  return name ? missing(name) : Promise.reject(error);
});
process.exitCode = await main(process.argv.slice(2));
