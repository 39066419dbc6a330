import type { Histogram } from './request-times.ts';

export type Labels = Readonly<Record<string, string>>;

/** Text in Prometheus' exposition format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export interface Exposition {
  gauge(name: string, help: string, value: number): void;
  counter(name: string, help: string, values: ReadonlyArray<readonly [Labels, number]>): void;
  histogram(name: string, help: string, values: ReadonlyArray<readonly [Labels, Histogram]>): void;
  text(): string;
}

export function createExposition(): Exposition {
  const lines: string[] = [];
  const head = (name: string, help: string, type: string): void => void lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  return {
    gauge(name, help, value) {
      head(name, help, 'gauge');
      lines.push(`${name} ${value}`);
    },
    counter(name, help, values) {
      head(name, help, 'counter');
      for (const [labels, value] of values) lines.push(`${name}${inBraces(labels)} ${value}`);
    },
    histogram(name, help, values) {
      head(name, help, 'histogram');
      for (const [labels, { buckets, counts, sum }] of values) {
        let count = 0;
        for (const [index, end] of [...buckets, '+Inf'].entries()) {
          count += counts[index] ?? 0;
          lines.push(`${name}_bucket${inBraces({ ...labels, le: String(end) })} ${count}`);
        }
        lines.push(`${name}_sum${inBraces(labels)} ${sum}`, `${name}_count${inBraces(labels)} ${count}`);
      }
    },
    text: () => `${lines.join('\n')}\n`,
  };
}

function inBraces(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
