export const PYTHON_VERSIONS: readonly string[];
export const JAVASCRIPT_VERSIONS: readonly string[];
export function findFramework(version: string): string | null;
export function ensureFramework(version: string, onProgress: (text: string) => void): Promise<string>;
export function newestFramework(framework: 'py' | 'js'): Promise<string>;
