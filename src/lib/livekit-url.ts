/** The address of one of LiveKit's services. A path in `livekit.url` stays, as LiveKit's runner for Python keeps it. */
export function livekitUrl(base: string, scheme: 'http' | 'ws', path: string): URL {
  const url = new URL(base.replace(/^(http|ws)/, scheme));
  return new URL(`${url.pathname.replace(/\/+$/, '')}${path}`, url);
}
