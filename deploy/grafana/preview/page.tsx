// A dashboard's JSON drawn with Grafana's own components. window.PREVIEW says which, from where and when.
import 'uplot/dist/uPlot.min.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { firstValueFrom } from 'rxjs';
import {
  DataFrame, FieldConfigOptionsRegistry, LoadingState, ThemeContext, VizOrientation, applyFieldOverrides, createTheme, dateTime,
  getDisplayProcessor, getFieldDisplayValues, standardFieldConfigEditorRegistry, standardTransformers,
  standardTransformersRegistry, transformDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, BigValueTextMode, GlobalStyles, PanelChrome, Table, TimeSeries } from '@grafana/ui';
import { Mark, Values, choices, fill, frames, marks } from './prometheus';

const { dashboard, from, to, width = 1600, theme: mode = 'light' } = (window as any).PREVIEW;
const theme = createTheme({ colors: { mode } });
const [CELL, GAP] = [30, 8];
const STANDARD = ['unit', 'min', 'max', 'decimals', 'thresholds', 'mappings', 'color', 'noValue', 'links', 'displayName'];

standardFieldConfigEditorRegistry.setInit(() => []);
standardTransformersRegistry.setInit(() => {
  const byId = new Map(Object.values(standardTransformers).map((each: any) => [each.id, each])); // some have two names
  return [...byId.values()].map((each) => ({ id: each.id, name: each.name, transformation: each, editor: () => null }) as any);
});

// Every property that the panel sets, so that defaults and overrides both take effect.
function registry(config: any): FieldConfigOptionsRegistry {
  const ids = new Set<string>([...STANDARD, ...Object.keys(config.defaults?.custom ?? {}).map((key) => `custom.${key}`)]);
  for (const rule of config.overrides ?? []) for (const property of rule.properties) ids.add(property.id);
  const item = (id: string) => ({
    id, name: id, path: id.replace('custom.', ''), isCustom: id.startsWith('custom.'), editor: () => null, override: () => null,
    process: (value: unknown) => value, shouldApply: () => true,
  });
  return new FieldConfigOptionsRegistry(() => [...ids].map(item) as any);
}

function floor(config: any) {
  for (const step of config.defaults?.thresholds?.steps ?? []) step.value ??= -Infinity;
  for (const rule of config.overrides ?? [])
    for (const { id, value } of rule.properties) if (id === 'thresholds') for (const step of value.steps) step.value ??= -Infinity;
  return config;
}

async function load(panel: any, values: Values): Promise<DataFrame[]> {
  let found = (await Promise.all(panel.targets.map((target: any) => frames(target, values, panel.targets.length > 1)))).flat();
  if (panel.transformations?.length) found = await firstValueFrom(transformDataFrame(panel.transformations, found));
  const fieldConfig = floor(structuredClone(panel.fieldConfig));
  return applyFieldOverrides({
    data: found, fieldConfig, fieldConfigRegistry: registry(fieldConfig), replaceVariables: (text) => text, theme, timeZone: 'utc',
  });
}

const timeRange = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: { from: dateTime(from * 1000), to: dateTime(to * 1000) } };

// Annotations belong to Grafana's core, so lines of our own stand in for them.
function Marks({ builder, all }: { builder: any; all: Mark[] }) {
  React.useLayoutEffect(() => builder.addHook('draw', (plot: any) => {
    for (const mark of all) {
      const x = plot.valToPos(mark.time, 'x', true);
      plot.ctx.save();
      Object.assign(plot.ctx, { strokeStyle: theme.visualization.getColorByName(mark.colour), lineWidth: 2 });
      plot.ctx.setLineDash([4, 4]);
      plot.ctx.beginPath();
      plot.ctx.moveTo(x, plot.bbox.top);
      plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
      plot.ctx.stroke();
      plot.ctx.restore();
    }
  }), [builder]);
  return null;
}

function Numbers({ panel, data, width, height }: any) {
  const shown = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: panel.options?.reduceOptions ?? { calcs: ['lastNotNull'] }, data, theme,
    replaceVariables: (text: string) => text, timeZone: 'utc',
  });
  const bars = panel.type === 'bargauge';
  const size = bars ? Math.min(48, height / shown.length) : width / shown.length;
  return (
    <div style={{ display: 'flex', flexDirection: bars ? 'column' : 'row' }}>
      {shown.map(({ display, field, view, colIndex }, place) =>
        bars ? (
          <BarGauge key={place} value={display} field={field} width={width} height={size - 4} theme={theme} displayMode={panel.options.displayMode}
            orientation={VizOrientation.Horizontal} text={{ titleSize: 12, valueSize: 14 }}
            display={view?.getFieldDisplayProcessor(colIndex!) ?? getDisplayProcessor({ theme })} />
        ) : (
          <BigValue key={place} value={display} width={size} height={height} theme={theme} graphMode={panel.options.graphMode}
            colorMode={panel.options.colorMode} justifyMode={panel.options.justifyMode}
            textMode={shown.length > 1 && panel.options.textMode === 'auto' ? BigValueTextMode.ValueAndName : panel.options.textMode} />
        )
      )}
    </div>
  );
}

function Body({ panel, data, all, width, height }: any) {
  if (!data.some((frame: DataFrame) => frame.length)) return <p>{panel.fieldConfig.defaults.noValue ?? 'No data'}</p>;
  if (panel.type === 'table') return <Table data={data[0]} width={width} height={height} />;
  if (panel.type !== 'timeseries') return <Numbers {...{ panel, data, width, height }} />;
  return (
    <TimeSeries frames={data} structureRev={1} timeRange={timeRange} timeZone="utc" width={width} height={height} legend={panel.options.legend}>
      {(builder: any) => <Marks builder={builder} all={all} />}
    </TimeSeries>
  );
}

// Panels with their places; a repeated one stands there once for each value, and what follows moves down.
function laidOut(values: Values, lists: Record<string, string[]>) {
  let down = 0;
  return dashboard.panels.flatMap((panel: any) => {
    const { x, y, w, h } = panel.gridPos;
    if (!panel.repeat) return [{ panel, values, x, y: y + down, w, h }];
    const [perRow, start, each] = [panel.maxPerRow ?? 4, y + down, lists[panel.repeat]];
    down += (Math.ceil(each.length / perRow) - 1) * h;
    const wide = 24 / Math.min(perRow, Math.max(each.length, 1));
    return each.map((value, place) => ({
      panel, values: { ...values, [panel.repeat]: value }, x: (place % perRow) * wide, y: start + Math.floor(place / perRow) * h, w: wide, h,
    }));
  });
}

async function main() {
  const values: Values = { ...(window as any).PREVIEW.values };
  const lists: Record<string, string[]> = {};
  for (const variable of dashboard.templating?.list ?? []) {
    lists[variable.name] = values[variable.name] ? [values[variable.name]] : await choices(variable.query, values);
    values[variable.name] ??= variable.includeAll ? `(${lists[variable.name].join('|')})` : lists[variable.name][0];
  }
  const all = (await Promise.all((dashboard.annotations?.list ?? []).map((each: any) => marks(each, values)))).flat();
  const parts = await Promise.all(laidOut(values, lists).map(async (part: any) => {
    if (part.panel.type === 'row') return part;
    return load(part.panel, part.values).then((data) => ({ ...part, data }), (error) => ({ ...part, data: [], error: String(error) }));
  }));
  const unit = width / 24;
  const height = Math.max(...parts.map(({ y, h }) => (y + h) * (CELL + GAP)));
  createRoot(document.getElementById('page')!).render(
    <ThemeContext.Provider value={theme}>
      <MemoryRouter>
        <GlobalStyles />
        <div style={{ position: 'relative', width, height, background: theme.colors.background.canvas }}>
          {parts.map(({ panel, data, error, values: own, x, y, w, h }, place) => {
            const size = { width: w * unit - GAP, height: h * (CELL + GAP) - GAP };
            return (
              <div key={place} style={{ position: 'absolute', left: x * unit, top: y * (CELL + GAP), ...size }}>
                {panel.type === 'row' ? (
                  <h5 style={{ margin: 6 }}>{fill(panel.title, own)}</h5>
                ) : (
                  <PanelChrome title={fill(panel.title, own)} description={panel.description} loadingState={error ? LoadingState.Error : LoadingState.Done}
                    statusMessage={error} {...size}>
                    {(innerWidth, innerHeight) => <Body panel={panel} data={data} all={all} width={innerWidth} height={innerHeight} />}
                  </PanelChrome>
                )}
              </div>
            );
          })}
        </div>
      </MemoryRouter>
    </ThemeContext.Provider>
  );
  const points = (data: DataFrame[]) => data.reduce((sum, frame) => sum + frame.length, 0);
  (window as any).DRAWN = {
    height, marks: all,
    panels: parts.filter(({ data }) => data).map(({ panel, data, error, values: own }) => ({ title: fill(panel.title, own), points: points(data), error })),
  };
}

main().catch((error) => ((window as any).DRAWN = { error: String(error) }));
