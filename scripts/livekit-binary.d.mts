export function findLiveKitBinary(): string | null;
export function ensureLiveKitBinary(onProgress: (text: string) => void): Promise<string>;
