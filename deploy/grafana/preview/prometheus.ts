// What Grafana's Prometheus source does for a panel: variables, queries, data frames.
import { DataFrame, Field, FieldType, createDataFrame } from '@grafana/data';

export type Values = Record<string, string>;
type Found = { metric: Record<string, string>; value?: [number, string]; values?: Array<[number, string]> };

const { prometheus, from, to, step } = (window as any).PREVIEW;

async function ask(path: string, parameters: Record<string, string>): Promise<any> {
  const reply = await (await fetch(`${prometheus}/api/v1/${path}?${new URLSearchParams(parameters)}`)).json();
  if (reply.status !== 'success') throw new Error(reply.error);
  return reply.data;
}

export function fill(text: string, values: Values): string {
  const own: Values = { __rate_interval: `${Math.max(4 * step, 2)}s`, __interval: `${step}s`, __range: `${to - from}s` };
  return text.replace(/\$\{?(\w+)\}?/g, (all, name) => values[name] ?? own[name] ?? all);
}

// The values of one query variable, label_values(selector, label), given those before it.
export async function choices(query: string, values: Values): Promise<string[]> {
  const [, selector, label] = query.match(/^label_values\((.+), (\w+)\)$/)!;
  return ask(`label/${label}/values`, { 'match[]': fill(selector, values), start: `${from}`, end: `${to}` });
}

const range = (expr: string) => ask('query_range', { query: expr, start: `${from}`, end: `${to}`, step: `${step}` });

export async function frames(target: any, values: Values, several: boolean): Promise<DataFrame[]> {
  const expr = fill(target.expr, values);
  const found: Found[] = (target.instant ? await ask('query', { query: expr, time: `${to}` }) : await range(expr)).result;
  if (target.format === 'table') return found.length ? [table(found, several ? `Value #${target.refId}` : 'Value')] : [];
  return found.map(({ metric, value, values: points }) => {
    const all = points ?? [value!];
    const legend = (target.legendFormat ?? '').replace(/\{\{\s*(\w+)\s*\}\}/g, (_: string, name: string) => metric[name] ?? '');
    const times = { name: 'Time', type: FieldType.time, values: all.map((point) => point[0] * 1000), config: {} };
    const numbers = { name: 'Value', type: FieldType.number, values: all.map((point) => Number(point[1])), labels: metric };
    return createDataFrame({ refId: target.refId, fields: [times, { ...numbers, config: { displayNameFromDS: legend } }] });
  });
}

function table(found: Found[], name: string): DataFrame {
  const labels = [...new Set(found.flatMap(({ metric }) => Object.keys(metric)))];
  const column = (key: string, type: FieldType, values: unknown[]) => ({ name: key, type, values, config: {} }) as Field;
  return createDataFrame({
    fields: [
      column('Time', FieldType.time, found.map(({ value }) => value![0] * 1000)),
      ...labels.map((label) => column(label, FieldType.string, found.map(({ metric }) => metric[label]))),
      column(name, FieldType.number, found.map(({ value }) => Number(value![1]))),
    ],
  });
}

export type Mark = { time: number; colour: string; text: string };

// The first moment of each run of points, as an annotation shows it.
export async function marks(annotation: any, values: Values): Promise<Mark[]> {
  const found: Found[] = (await range(fill(annotation.expr, values))).result;
  return found.flatMap(({ metric, values: points }) =>
    points!
      .filter(([time], place) => place === 0 || time - points![place - 1][0] > step)
      .map(([time]) => ({
        time: time * 1000,
        colour: annotation.iconColor,
        text: `${annotation.titleFormat}: ${annotation.textFormat.replace(/\{\{(\w+)\}\}/g, (_: string, name: string) => metric[name])}`,
      }))
  );
}
