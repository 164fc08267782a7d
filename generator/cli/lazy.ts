// Commands that cost nothing until they are called.
import type { CommandModule } from 'yargs';

/** A command whose module is loaded when it is called, so that the others start fast. */
export function lazy(command: string, describe: string, load: () => Promise<unknown>): CommandModule<object, object> {
  let module: CommandModule<object, object>;
  return {
    command,
    describe,
    builder: async (y) => {
      module = (await load()) as CommandModule<object, object>;
      const built = typeof module.builder === 'function' ? await module.builder(y) : y.options(module.builder ?? {});
      // A command that takes words judges them itself.
      return command.includes(' ') ? built : built.strict();
    },
    handler: (argv) => module.handler(argv),
  };
}
