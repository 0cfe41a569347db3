/** The language of comments, docs, messages and test titles. `node test/style/language.ts PATH…` prints what is wrong. */
import { describe, expect, it } from 'vitest';
import { faultsIn, proseFiles, readFaults, SENTENCE_WORDS } from './language.ts';

describe('the language of the project', () => {
  it('is plain English in every comment, docstring, message, document and test title', () => {
    const faults = readFaults(proseFiles()).map(({ path, line, what }) => `${path}:${line} ${what}`);
    expect(faults).toEqual([]);
    // It reads every file of the project, which takes minutes on a host with much other work.
  }, 300_000);
});

describe('the language check', () => {
  const long = `The session ${'really '.repeat(SENTENCE_WORDS)}ends.`;

  it.each([
    ['a long sentence in a comment', 'a.ts', `// ${long}`],
    [
      'a long sentence over several lines of a docstring',
      'a.ts',
      `/**\n * ${long.replace('ends', '\n * ends')}\n */`,
    ],
    ['a long sentence in a list item', 'a.md', `- ${long}`],
    ['a long sentence in a Python docstring', 'a.py', `def f():\n    """${long}"""`],
    ['a long sentence in a YAML comment', 'a.yaml', `# ${long}\nkey: 1`],
    ['a clause as a subject', 'a.md', 'What was held is released.'],
    ['"who" in a comment', 'a.ts', '// The one who asked.'],
    ['an idiom in an error message', 'src/a.ts', "throw new Error('the worker is told to end');"],
    ['an idiom in a test title', 'test/a.test.ts', "it('a worker lets go of its room', () => {});"],
  ])('finds %s', (_, path, text) => {
    expect(faultsIn(path, text)).not.toEqual([]);
  });

  it.each([
    ['code in Markdown', 'a.md', `\`\`\`sh\n${long}\n\`\`\``],
    ['a table', 'a.md', `| ${long} |`],
    ['two sentences that are short each', 'a.ts', '// The session ends. Its worker is gone.'],
    ['a question', 'a.md', 'Who holds the slot?'],
    ['a text that is no message', 'src/a.ts', "const SQL = 'who told';"],
    ['inline code', 'a.ts', `// See \`${long}\`.`],
    ['a text that is marked as SQL', 'src/a.ts', `const SQL = /* sql */ \`${long}\`;`],
  ])('accepts %s', (_, path, text) => {
    expect(faultsIn(path, text)).toEqual([]);
  });
});
