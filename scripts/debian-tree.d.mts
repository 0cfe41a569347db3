export function whyNoSystemd(): string | null;
export function ensureDebianTree(say: (text: string) => void): string;
