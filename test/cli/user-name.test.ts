import { expect, it } from 'vitest';
import { userName, userNameForHeader } from '../../src/lib/user-name.ts';

it('a user name with letters outside of ASCII fits into a header', () => {
  expect(userNameForHeader(() => 'Łukasz')).toBe('?ukasz');
  expect(userNameForHeader(() => 'anna')).toBe('anna');
});

it('a user without a name is its number', () => {
  const missing = () => {
    throw new Error('uv_os_get_passwd returned ENOENT');
  };
  expect(userName(missing)).toBe(`uid-${process.getuid?.()}`);
});
