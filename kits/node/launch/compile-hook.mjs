/**
 * Adapts CommonJS modules where they are compiled. Because: a loader of TypeScript, such as tsx, reads the file of a module
 * itself, and no hook of Node sees it. Other modules pass a hook first, so `adapt` may see its own result.
 */
import { Module } from 'node:module';

/** `adapt(path, source)` returns the source to compile. */
export function adaptCompiled(pattern, adapt) {
  const { prototype } = Module;
  const { _compile } = prototype;
  prototype._compile = function compileAdapted(content, path, ...rest) {
    const source = pattern.test(path) ? adapt(path, `${content}`) : content;
    return Reflect.apply(_compile, this, [source, path, ...rest]);
  };
}
