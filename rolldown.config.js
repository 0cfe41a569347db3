/**
 * The build puts the program into a few files, because loading six hundred modules took half of a start.
 * It keeps names, for stack traces.
 */
export default {
  input: {
    main: 'src/main.ts',
    // Fixed names: after an upgrade a supervisor of the old version still loads its threads from these paths.
    thread: 'src/adapters/registry/registry-thread.ts',
    'trim-thread': 'src/adapters/worker/log/trim-thread.ts',
  },
  platform: 'node',
  output: {
    format: 'esm',
    entryFileNames: ({ name }) => (name === 'main' ? 'main.js' : 'lib/[name].js'),
    chunkFileNames: 'lib/[name]-[hash].js',
  },
};
