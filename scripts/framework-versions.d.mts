export const PYTHON_VERSIONS: readonly string[];
export const JAVASCRIPT_VERSIONS: readonly string[];
/** The oldest version of each, as in `py-1.2.18`. */
export const OLDEST: readonly string[];
/** A version below the matrix, as in `py-1.0.23`. */
export const BELOW: string;
export function findFramework(version: string): string | null;
export function ensureFramework(version: string, onProgress: (text: string) => void): Promise<string>;
export function newestFramework(framework: 'py' | 'js'): Promise<string>;
