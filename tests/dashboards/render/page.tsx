// Draws a dashboard with Grafana's own panel components. The server beside it has put the variables in already; what
// Grafana's front end does with answers of Prometheus (steps, legends, gaps) is done here, as far as it shows.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import {
  applyFieldOverrides, applyNullInsertThreshold, createTheme, DashboardCursorSync, dateTime, EventBusSrv,
  FieldConfigOptionsRegistry, FieldType, getDisplayValueAlignmentFactors, getFieldDisplayValues, renderMarkdown,
  standardEditorsRegistry, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry,
  ThemeContext, toDataFrame, transformDataFrame, VizOrientation,
} from '@grafana/data';
import {
  BarGauge, BigValue, BigValueColorMode, BigValueGraphMode, BigValueJustifyMode, BigValueTextMode, GlobalStyles,
  PanelChrome, PanelContextProvider, Table, TimeSeries, VizRepeater,
} from '@grafana/ui';

type Any = any; // the components are given what the JSON of a dashboard says, which has no types here

const COLUMNS = 24, ROW = 38, GAP = 8;
const POINTS_APART = 2; // pixels of a chart between two points, at least
const theme = createTheme({ colors: { mode: 'dark' } });
const query = new URLSearchParams(location.search);
const from = Number(query.get('from')), to = Number(query.get('to')), width = Number(query.get('width') ?? 1400);
const range: Any = { from: dateTime(from * 1000), to: dateTime(to * 1000) };
range.raw = { from: range.from, to: range.to };

const asIs = (text: string) => text;
const property = (id: string, isCustom: boolean): Any => ({
  id: isCustom ? 'custom.' + id : id, path: id, name: id, isCustom, process: (value: Any) => value,
  override: () => null, editor: () => null, shouldApply: () => true, settings: {},
});
const STANDARD = [
  'unit', 'min', 'max', 'decimals', 'displayName', 'displayNameFromDS', 'color', 'thresholds', 'mappings', 'noValue',
  'links', 'fieldMinMax',
];
const CUSTOM = [
  'lineWidth', 'fillOpacity', 'lineInterpolation', 'drawStyle', 'fillBelowTo', 'lineStyle', 'showPoints', 'pointSize',
  'spanNulls', 'stacking', 'axisPlacement', 'axisLabel', 'axisWidth', 'hideFrom', 'thresholdsStyle', 'gradientMode', 'axisSoftMin',
  'axisSoftMax', 'barAlignment', 'scaleDistribution', 'insertNulls', 'transform', 'cellOptions', 'width', 'align',
  'filterable', 'inspect', 'minWidth',
];
standardEditorsRegistry.setInit(() => []);
standardFieldConfigEditorRegistry.setInit(() => STANDARD.map((id) => property(id, false)));
const transformers = new Map(Object.values(standardTransformers).map((one: Any) => [one.id, one]));
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((one: Any) => ({ id: one.id, name: one.name, transformation: one, editor: () => null }) as Any));
const registry = new FieldConfigOptionsRegistry();
STANDARD.forEach((id) => registry.register(property(id, false)));
CUSTOM.forEach((id) => registry.register(property(id, true)));

const number = (text: string) => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

function stepOf(panel: Any): number {
  const points = panel.maxDataPoints ?? (panel.gridPos.w / COLUMNS) * width / POINTS_APART;
  return [5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600].find((step) => (to - from) / step <= points) ?? 7200;
}

function timed(expr: string, step: number): string {
  const rate = Math.max(step + 15, 60); // as with a scrape interval of 15 s
  return expr.replaceAll('$__rate_interval', rate + 's').replaceAll('$__interval', step + 's')
    .replaceAll('$__range', Math.round(to - from) + 's');
}

async function ask(target: Any, step: number): Promise<Any[]> {
  const form = new URLSearchParams({ query: timed(target.expr, step) });
  if (target.instant) form.set('time', String(to));
  else [['start', Math.floor(from / step) * step], ['end', Math.floor(to / step) * step], ['step', step]]
    .forEach(([name, value]) => form.set(String(name), String(value)));
  const answer = await fetch('/prometheus/api/v1/' + (target.instant ? 'query' : 'query_range'), { method: 'POST', body: form });
  const content = await answer.json();
  if (content.status !== 'success') throw new Error(`${answer.status} ${content.error}`);
  const { resultType, result } = content.data;
  return resultType === 'scalar' ? [{ metric: {}, value: result }] : result;
}

function legend(metric: Any, format: string): string | undefined {
  if (format === '__auto') return undefined; // Grafana then names by what distinguishes the series
  return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => metric[name] ?? '').trim();
}

function lineFrame(target: Any, one: Any, step: number): Any {
  const points = one.values ?? [one.value], { __name__, ...labels } = one.metric;
  const displayNameFromDS = legend(one.metric, target.legendFormat);
  const frame = toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: FieldType.time, values: points.map((p: Any) => p[0] * 1000), config: { interval: step * 1000 } },
    { name: __name__ ?? 'Value', type: FieldType.number, labels, values: points.map((p: Any) => number(p[1])), config: { displayNameFromDS } },
  ] });
  // Prometheus leaves out the steps without a value; Grafana puts them back as nulls, so that no line crosses a gap.
  return target.instant ? frame : applyNullInsertThreshold({ frame, refFieldPseudoMin: from * 1000, refFieldPseudoMax: to * 1000 });
}

function tableFrame(target: Any, result: Any[]): Any {
  const names = [...new Set(result.flatMap((one) => Object.keys(one.metric)))].sort();
  return toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: FieldType.time, values: result.map((one) => one.value[0] * 1000) },
    ...names.map((name) => ({ name, type: FieldType.string, values: result.map((one) => one.metric[name] ?? null) })),
    { name: 'Value #' + target.refId, type: FieldType.number, values: result.map((one) => number(one.value[1])) },
  ] });
}

async function dataOf(panel: Any, report: Any): Promise<Any[]> {
  const step = stepOf(panel), frames: Any[] = [];
  for (const target of panel.targets ?? []) {
    try {
      const result = await ask(target, step);
      report.series += result.length;
      if (!result.length) report.empty.push(target.refId);
      if (target.format === 'table') frames.push(tableFrame(target, result));
      else frames.push(...result.map((one) => lineFrame(target, one, step)));
    } catch (error) {
      report.errors.push(`${target.refId}: ${error}`);
    }
  }
  return frames;
}

async function shown(panel: Any, frames: Any[], report: Any): Promise<Any[]> {
  try {
    const data = panel.transformations ? await lastValueFrom(transformDataFrame(panel.transformations, frames)) : frames;
    const defaults = { thresholds: { mode: 'absolute', steps: [{ color: 'green', value: null }] }, ...panel.fieldConfig?.defaults };
    for (const one of defaults.thresholds.steps) one.value ??= -Infinity;
    for (const override of panel.fieldConfig?.overrides ?? [])
      for (const { id, value } of override.properties) if (id === 'thresholds') value.steps.forEach((one: Any) => (one.value ??= -Infinity));
    const fieldConfig = { defaults, overrides: panel.fieldConfig?.overrides ?? [] };
    if (panel.type === 'table') // how many cells of each column have something in them
      for (const { name, values } of data[0]?.fields ?? []) report.cells[name] = values.filter((value: Any) => value != null && value !== '').length;
    return applyFieldOverrides({ data, fieldConfig, fieldConfigRegistry: registry, replaceVariables: asIs, theme, timeZone: 'utc' } as Any);
  } catch (error) {
    report.errors.push(String(error));
    return [];
  }
}

function Lines({ panel, data, w, h }: Any) {
  const context: Any = { eventsScope: 'picture', eventBus: new EventBusSrv(), sync: () => DashboardCursorSync.Off };
  return <PanelContextProvider value={context}>
    <TimeSeries frames={data} structureRev={1} timeRange={range} timeZone="utc" width={w} height={h} legend={panel.options.legend}
      options={panel.options} replaceVariables={asIs} cursorSync={DashboardCursorSync.Off} {...({} as Any)}>{() => <></>}</TimeSeries>
  </PanelContextProvider>;
}

function valuesOf(panel: Any, data: Any[]): Any[] {
  return getFieldDisplayValues({ fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: asIs,
    theme, data, sparkline: false, timeZone: 'utc' } as Any);
}

function Numbers({ panel, data, w, h }: Any) {
  const values = valuesOf(panel, data);
  return <>{values.map((one, place) => <BigValue key={place} theme={theme} width={w / values.length} height={h} value={one.display}
    colorMode={BigValueColorMode.Value} graphMode={BigValueGraphMode.None} justifyMode={BigValueJustifyMode.Auto}
    textMode={panel.options.textMode as BigValueTextMode} />)}</>;
}

function Bars({ panel, data, w, h }: Any) {
  const { displayMode, namePlacement, minVizHeight, maxVizHeight, minVizWidth, showUnfilled } = panel.options;
  return <VizRepeater getValues={() => valuesOf(panel, data)} getAlignmentFactors={getDisplayValueAlignmentFactors} source={data}
    width={w} height={h} orientation={VizOrientation.Horizontal} minVizHeight={minVizHeight} maxVizHeight={maxVizHeight}
    minVizWidth={minVizWidth} itemSpacing={8} renderValue={({ value, width: room, height, alignmentFactors }: Any) =>
      <BarGauge theme={theme} width={room} height={height} value={value.display} field={value.field} alignmentFactors={alignmentFactors}
        orientation={VizOrientation.Horizontal} displayMode={displayMode} namePlacement={namePlacement} showUnfilled={showUnfilled} itemSpacing={8} />} />;
}

function Rows({ data, w, h }: Any) {
  return <Table data={data[0]} width={w} height={h} timeRange={range} showTypeIcons={false} resizable={false} enablePagination={false} />;
}

function Words({ panel }: Any) {
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderMarkdown(panel.options.content) }} />;
}

const KINDS: Record<string, React.ComponentType<Any>> = { timeseries: Lines, stat: Numbers, bargauge: Bars, table: Rows, text: Words };

class Guard extends React.Component<Any, Any> {
  state: Any = {};
  static getDerivedStateFromError(error: Any) { return { error }; }
  componentDidCatch(error: Any) { this.props.report.errors.push(String(error)); }
  render() { return this.state.error ? <pre>{String(this.state.error)}</pre> : this.props.children; }
}

function Panel({ panel, data, report }: Any) {
  const { x, y, w, h } = panel.gridPos, room = (w / COLUMNS) * width - GAP, height = h * ROW - GAP, Kind = KINDS[panel.type];
  const empty = panel.type !== 'text' && panel.type !== 'stat' && !data.some((frame: Any) => frame.length);
  return <div style={{ position: 'absolute', left: (x / COLUMNS) * width + GAP / 2, top: y * ROW + GAP / 2, width: room, height }}>
    <Guard report={report}><PanelChrome title={panel.title} width={room} height={height}>
      {(inner: number, tall: number) => empty ? <div style={{ textAlign: 'center', paddingTop: tall / 3 }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>
        : <Guard report={report}><Kind panel={panel} data={data} w={inner} h={tall} /></Guard>}
    </PanelChrome></Guard></div>;
}

async function main() {
  await Promise.all(['400', '500'].map((weight) => document.fonts.load(`${weight} 14px Inter`))); // names are measured
  const dashboard = await (await fetch('/dashboard.json')).json();
  const reports: Any[] = [], items: Any[] = [];
  for (const panel of dashboard.panels) {
    const report = { id: panel.id, title: panel.title, type: panel.type, series: 0, empty: [], cells: {}, errors: KINDS[panel.type] ? [] : ['not drawable'] };
    reports.push(report);
    items.push({ panel, report, data: await shown(panel, await dataOf(panel, report), report) });
  }
  const height = Math.max(...items.map(({ panel }) => panel.gridPos.y + panel.gridPos.h)) * ROW + GAP;
  createRoot(document.getElementById('root')!).render(<ThemeContext.Provider value={theme}>
    <GlobalStyles isExtensionSidebarOpen={false} hackNoBackdropBlur={true} {...({} as Any)} />
    <div style={{ position: 'relative', height, background: theme.colors.background.canvas }}>
      {items.map((item) => <Panel key={item.panel.id} {...item} />)}</div></ThemeContext.Provider>);
  setTimeout(() => {
    const element = document.createElement('script');
    element.type = 'application/json';
    element.id = 'report';
    element.textContent = JSON.stringify({ height, canvases: document.querySelectorAll('canvas').length, panels: reports }).replaceAll('<', '\\u003c');
    document.body.appendChild(element);
  }, 3000);
}

main().catch((error) => { document.body.innerText = 'FAILED ' + error.stack; });
