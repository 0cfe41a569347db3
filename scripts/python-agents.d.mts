export function findPythonAgents(): string | null;
export function ensurePythonAgents(onProgress: (text: string) => void): Promise<string>;
