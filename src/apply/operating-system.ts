import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';

/**
 * Refuses what is neither Debian nor made from it, such as Ubuntu: elsewhere there is no apt, or another C library.
 * @throws FleetError UNSUPPORTED_OS naming the system (os-release(5))
 */
export async function checkOperatingSystem(host: Host): Promise<void> {
  const text = (await host.read('/etc/os-release', { followLinks: true }))?.content ?? '';
  const value = (name: string): string => new RegExp(`^${name}=["']?([^"'\\n]*)`, 'm').exec(text)?.[1] ?? '';
  const kinds = `${value('ID')} ${value('ID_LIKE')}`.split(' ');
  if (!kinds.includes('debian')) throw new FleetError('UNSUPPORTED_OS', { name: value('PRETTY_NAME') || '?' }, { exitCode: 2 });
}
