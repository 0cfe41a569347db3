export const PREVIOUS: { readonly version: string; readonly commit: string };
export function findPrevious(): string | null;
export function ensurePrevious(onProgress: (text: string) => void): string;
