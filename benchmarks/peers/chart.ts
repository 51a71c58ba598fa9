// The ratios as a chart of dots (SVG), drawn by Apache ECharts where it is installed beside the peers.
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

/** A row of the chart: one dot per family of peers. */
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
    width: 1100,
    height: 130 + shown.length * 18,
  });
  chart.setOption({
    animation: false,
    title: {
      text: 'Speed of simdgrad over that of its peers (above 1: simdgrad is faster)',
      textStyle: { fontSize: 15 },
    },
    // Without a screen the width of text is a guess: hence the large gap.
    legend: { top: 36, itemGap: 36, textStyle: { fontSize: 12 } },
    grid: { left: 400, right: 60, top: 100, bottom: 20 },
    xAxis: { type: 'log', logBase: 2, position: 'top' },
    yAxis: {
      type: 'category',
      inverse: true,
      data: shown.map(({ name }) => name),
      axisTick: { show: false },
      splitLine: { show: true, lineStyle: { color: '#eef0f4' } },
    },
    series: families.map((family) => ({
      name: family,
      type: 'scatter',
      symbolSize: 9,
      data: shown.flatMap(({ name, ratios }) => {
        const found = ratios.find((r) => r.family === family);
        return found ? [[Number(found.median.toPrecision(3)), name]] : [];
      }),
      markLine: { symbol: 'none', silent: true, label: { show: false }, data: [{ xAxis: 1 }] },
    })),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}
