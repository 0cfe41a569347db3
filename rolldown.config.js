/** The build is one program in a few files: reading six hundred modules one by one took half of a start. Names are kept, for stack traces. */
export default {
  input: {
    main: 'src/main.ts',
    thread: 'src/registry/thread.ts',
    'trim-thread': 'src/worker/trim-thread.ts',
  },
  platform: 'node',
  output: {
    format: 'esm',
    entryFileNames: ({ name }) => (name === 'main' ? 'main.js' : 'lib/[name].js'),
    // Two folders below the project like the files of src/, which find kits/ and each other from there.
    chunkFileNames: 'lib/[name]-[hash].js',
  },
};
