/** The build is one program in a few files: reading six hundred modules one by one took half of a start. Names are kept, for stack traces. */
export default {
  input: {
    main: 'src/main.ts',
    // A supervisor of another version may load these names from here: an install replaces the files under it.
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
