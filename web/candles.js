// Candles with volume, moving averages and MACD, in the colours of the theme: red is up. Read by eye, by crosshair and by keys.

import { colour, klinecharts } from './charts.js';
import { Failed } from './components.js';
import { lang, t } from './i18n.js';
import { theme } from './theme.js';
import { html, useEffect, useRef, useState } from './view.js';

const AVERAGES = [5, 10, 20, 60];
const PERIODS = { daily: 'day', weekly: 'week', monthly: 'month' };

/** The bars of the service as the library wants them. */
function asData(bars) {
  return bars.map(([day, open, high, low, close, volume, turnover]) => (
    { timestamp: Date.parse(`${day}T00:00:00+08:00`), day, open, high, low, close, volume: volume ?? 0, turnover: turnover ?? 0 }));
}

const dayOf = (timestamp) => new Date(timestamp + 8 * 3600_000).toISOString().slice(0, 10);

function bigNumber(value) {
  const style = { notation: 'compact', maximumFractionDigits: 2 };
  return new Intl.NumberFormat(lang.get() === 'zh' ? 'zh-CN' : 'en', style).format(Number(value));
}

function styles() {
  const [up, down, flat] = [colour('--up'), colour('--down'), colour('--text-faint')];
  const [text, muted, line, panel] = [colour('--text'), colour('--text-faint'), colour('--line'), colour('--raised')];
  const family = getComputedStyle(document.body).fontFamily;
  const lines = ['--series-1', '--series-2', '--series-3', '--series-4'].map((name) => ({ color: colour(name), size: 1 }));
  const axis = { axisLine: { color: line }, tickLine: { color: line }, tickText: { color: muted, family, size: 11 } };
  const cross = { line: { color: muted }, text: { color: panel, backgroundColor: text, borderColor: text, family } };
  const change = { upColor: up, downColor: down, noChangeColor: flat };
  return {
    grid: { horizontal: { color: line }, vertical: { show: false } },
    candle: {
      bar: {
        ...change, compareRule: 'current_open', upBorderColor: up, downBorderColor: down, noChangeBorderColor: flat,
        upWickColor: up, downWickColor: down, noChangeWickColor: flat,
      },
      priceMark: {
        high: { color: muted, textFamily: family },
        low: { color: muted, textFamily: family },
        last: { ...change, text: { family, color: panel } },
      },
      tooltip: { showRule: 'none' },
    },
    indicator: {
      ohlc: { ...change },
      bars: [{ ...change, style: 'fill' }],
      lines,
      lastValueMark: { show: false },
      tooltip: { title: { color: muted, family, size: 11 }, legend: { color: text, family, size: 11 } },
    },
    xAxis: axis,
    yAxis: axis,
    separator: { color: line },
    crosshair: { horizontal: cross, vertical: cross },
  };
}

function create(library, element, { code, period, bars, decimals }) {
  const chart = library.init(element, {
    locale: lang.get() === 'zh' ? 'zh-CN' : 'en-US',
    timezone: 'Asia/Shanghai',
    styles: styles(),
    formatter: {
      formatBigNumber: bigNumber,
      formatDate: ({ timestamp, type }) => (type === 'xAxis' && period === 'monthly' ? dayOf(timestamp).slice(0, 7) : dayOf(timestamp)),
    },
  });
  const data = asData(bars);
  chart.setSymbol({ ticker: code, pricePrecision: decimals, volumePrecision: 0 });
  chart.setPeriod({ type: PERIODS[period] ?? 'day', span: 1 });
  chart.setDataLoader({ getBars: ({ callback }) => callback(data, false) });
  chart.createIndicator({ name: 'MA', calcParams: AVERAGES, paneId: 'candle_pane' }, true);
  const volume = chart.createIndicator({ name: 'VOL', calcParams: [], shouldFormatBigNumber: true });
  const macd = chart.createIndicator({ name: 'MACD' });
  for (const id of [volume, macd]) {
    const pane = chart.getIndicators({ id })[0]?.paneId;
    if (pane) chart.setPaneOptions({ id: pane, height: 88, minHeight: 60 });
  }
  return chart;
}

/** How many bars a key moves the reading. */
function keyStep(key, count) {
  return { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -count, End: count }[key] ?? 0;
}

/**
 * Draws `bars` (rows of day, open, high, low, close, vol, amount; oldest first). `onRead(index)` says which bar is being
 * read: under the crosshair, or by arrow keys; null for none.
 */
export function Candles({ code, period, bars, decimals = 2, label, onRead }) {
  const element = useRef(null);
  const chart = useRef(null);
  const read = useRef(bars.length - 1);
  const [failed, setFailed] = useState(null);
  const shade = theme.use();
  const language = lang.use();
  useEffect(() => {
    let gone = false;
    let watch = null;
    const place = element.current;
    klinecharts().then((library) => {
      if (gone) return;
      const made = create(library, place, { code, period, bars, decimals });
      chart.current = made;
      // The library would put its own element before everything else in the order of tabs.
      for (const inner of place.querySelectorAll('[tabindex]')) inner.tabIndex = -1;
      made.subscribeAction('onCrosshairChange', (cross) => {
        const { dataIndex } = made.convertFromPixel({ x: cross.x }, { paneId: 'candle_pane' });
        read.current = Math.max(0, Math.min(bars.length - 1, dataIndex));
        onRead(read.current);
      });
      watch = new ResizeObserver(() => made.resize());
      watch.observe(place);
      place.dataset.drawn = `${code} ${period} ${bars.length}`;
    }, setFailed);
    return () => {
      gone = true;
      watch?.disconnect();
      if (chart.current) window.klinecharts.dispose(place);
      chart.current = null;
      delete place.dataset.drawn;
    };
  }, [code, period, bars, decimals, language]);
  useEffect(() => { chart.current?.setStyles(styles()); }, [shade]);
  const onKeyDown = (event) => {
    const step = keyStep(event.key, bars.length);
    if (!step || !chart.current) return;
    event.preventDefault();
    event.stopPropagation();
    read.current = Math.max(0, Math.min(bars.length - 1, read.current + step));
    const { from, to } = chart.current.getVisibleRange();
    if (read.current <= from || read.current >= to - 1) chart.current.scrollToDataIndex(Math.min(bars.length - 1, read.current + 10));
    const [, , , , close] = bars[read.current];
    const at = chart.current.convertToPixel({ dataIndex: read.current, value: close }, { paneId: 'candle_pane' });
    chart.current.executeAction('onCrosshairChange', { ...at, paneId: 'candle_pane' });
    onRead(read.current);
  };
  if (failed) return html`<${Failed} problem=${{ status: 1, detail: failed.message }} />`;
  return html`<div class="candles" ref=${element} tabindex="0" role="img" aria-label=${label} title=${t('data.candles.keys')}
    onKeyDown=${onKeyDown} onPointerLeave=${() => onRead(null)}></div>`;
}
