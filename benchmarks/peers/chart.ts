// The ratios as a bar chart (SVG), drawn by Apache ECharts where it is installed beside the peers.
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

/** A row of the chart: one bar per family of peers. */
export interface ChartRow {
  readonly name: string;
  readonly ratios: readonly { readonly family: string; readonly median: number }[];
}

/** As much of ECharts as is used here; the package is not a dependency of this project. */
interface ECharts {
  init(
    dom: null,
    theme: null,
    options: { renderer: 'svg'; ssr: true; width: number; height: number },
  ): { setOption(option: object): void; renderToSVGString(): string; dispose(): void };
}

/** Draws "ours over theirs" on a logarithmic axis, or gives null where ECharts is not installed. */
export async function ratioChart(rows: readonly ChartRow[]): Promise<string | null> {
  let echarts: ECharts;
  try {
    echarts = createRequire(resolve(join('benchmarks', 'peers', 'package.json')))('echarts') as ECharts;
  } catch {
    return null;
  }
  const shown = rows.filter(({ ratios }) => ratios.length > 0);
  const families = [...new Set(shown.flatMap(({ ratios }) => ratios.map((r) => r.family)))];
  const chart = echarts.init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: 1000,
    height: 104 + shown.length * (8 + 8 * families.length),
  });
  chart.setOption({
    animation: false,
    title: {
      text: 'Speed of simdgrad over that of its peers (above 1: simdgrad is faster)',
      textStyle: { fontSize: 15 },
    },
    legend: { top: 36 },
    grid: { left: 340, right: 60, top: 84, bottom: 20 },
    xAxis: { type: 'log', logBase: 2, position: 'top' },
    yAxis: { type: 'category', inverse: true, data: shown.map(({ name }) => name) },
    series: families.map((family) => ({
      name: family,
      type: 'bar',
      data: shown.map(({ ratios }) => {
        const found = ratios.find((r) => r.family === family);
        return found ? Number(found.median.toPrecision(3)) : '-';
      }),
      label: { show: true, position: 'right', fontSize: 9 },
      markLine: { symbol: 'none', silent: true, label: { show: false }, data: [{ xAxis: 1 }] },
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}
