// Rows of any table: columns, filters, order, pages, as of an instant; and the same rows as a file.

import { api, useGet } from '../../api.js';
import { Button, Card, Chips, Choice, Empty, Loaded, RangeField, SelectField, Table, TextField } from '../../components.js';
import { Combobox } from '../../components/combobox.js';
import { NONE, decimal, number } from '../../format.js';
import { lang, t, titleOf } from '../../i18n.js';
import { go, setQuery } from '../../router.js';
import { html, useMemo, useState } from '../../view.js';

const PAGE = 100;
const FORMATS = ['csv', 'parquet', 'arrow', 'json'];
const COLUMNS_FIRST = 14;

/** `datetime-local` means the clock of Shanghai, wherever the browser is. */
const instantOf = (text) => (text ? `${text.length === 16 ? `${text}:00` : text}+08:00` : '');

/** What the address says of the wanted rows; filters are `column:values`, separated by `;`. */
function wanted(query, dataset) {
  const filters = (query.where ?? '').split(';').filter(Boolean);
  const columns = (query.columns ?? '').split(',').filter((name) => dataset.columns.some((column) => column.name === name));
  return {
    columns: columns.join(','), codes: query.codes ?? '', from: query.from ?? '', to: query.to ?? '', where: filters,
    order: query.order ?? '', as_of: instantOf(query.as_of), adjust: query.adjust ?? '',
  };
}

export function Rows({ name, query }) {
  const datasets = useGet('/api/v1/datasets', { query: { limit: 500 } });
  const dataset = useGet(name && `/api/v1/datasets/${name}`);
  const items = useMemo(() => [...datasets.data?.items ?? []].sort((one, other) => (other.rows > 0) - (one.rows > 0) || one.name.localeCompare(other.name)), [datasets.data]);
  const search = async (text) => {
    const typed = text.trim().toLowerCase();
    const fits = (one) => [one.name, one.title, one.title_zh].some((part) => part?.toLowerCase().includes(typed));
    return items.filter(fits).slice(0, 60);
  };
  const show = (one) => html`<span class="mono">${one.name}</span><b>${titleOf(one)}</b><small>${t('progress.rows', { rows: number(one.rows) })}</small>`;
  const picked = items.find((one) => one.name === name);
  return html`
    <div class="toolbar">
      <div class="field security"><span>${t('tasks.dataset')}</span>
        <${Combobox} label=${t('tasks.dataset')} placeholder=${t('data.table.example')} text=${name ? `${name}${picked ? ` ${titleOf(picked)}` : ''}` : ''} search=${search}
          show=${show} keyOf=${(one) => one.name} onPick=${(one) => go(`/data/table/${one.name}`)} /></div>
    </div>
    ${!name && html`<${Loaded} from=${datasets}>${() => html`<${Catalogue} items=${items} />`}<//>`}
    ${name && html`<${Loaded} from=${dataset}>${(found) => html`<${Browser} key=${name} dataset=${found} query=${query} />`}<//>`}`;
}

/** Every table with what is stored of it. */
function Catalogue({ items }) {
  const columns = [
    { name: 'name', label: t('tasks.dataset'), view: (one) => html`<b class="mono">${one.name}</b>` },
    { name: 'title', label: t('data.title'), value: titleOf, view: titleOf },
    { name: 'rows', label: t('tasks.rows'), number: true, view: (one) => number(one.rows) },
    { name: 'first_day_stored', label: t('data.first'), hide: 'phone' },
    { name: 'last_day_stored', label: t('data.last'), hide: 'phone' },
    { name: 'sources', label: t('nav.sources'), hide: 'phone', value: (one) => (one.sources ?? []).join(), view: (one) => (one.sources ?? []).join(', ') },
  ];
  return html`<${Card} id="catalogue" title=${t('data.tables')} flush><${Table} label=${t('data.tables')} columns=${columns} rows=${items} id=${(one) => one.name} open=${(one) => go(`/data/table/${one.name}`)} /><//>`;
}

function Browser({ dataset, query }) {
  const [opened, setOpened] = useState(false);
  const offset = Number(query.offset) || 0;
  const asked = wanted(query, dataset);
  const columns = asked.columns || dataset.columns.slice(0, COLUMNS_FIRST).map((column) => column.name).join(',');
  const path = `/api/v1/datasets/${dataset.name}/rows`;
  const found = useGet(path, { query: { ...asked, columns, limit: PAGE, offset: offset || null }, channels: asked.as_of ? [] : [`rows:${dataset.name}`], calm: 3000 });
  const set = (changes) => setQuery({ ...changes, offset: null });
  const links = FORMATS.map((format) => html`<${Button} small icon="download" key=${format} href=${api.address(path, { ...asked, format })} download=${`${dataset.name}.${format}`}>${format}<//>`);
  const filters = asked.where.length + [asked.codes, asked.from || asked.to, asked.as_of, asked.adjust, query.columns].filter(Boolean).length;
  const actions = html`<${Button} small icon="filter" run=${() => setOpened(!opened)} aria-expanded=${opened} aria-controls="row-filters">${t('data.filters', { count: filters })}<//>
    <span class="row" role="group" aria-label=${t('data.export')}>${links}</span>`;
  return html`<${Card} id="rows" title=${titleOf(dataset)} note=${t('data.stored', { rows: number(dataset.rows), from: dataset.first_day_stored ?? NONE, to: dataset.last_day_stored ?? NONE })} actions=${actions} flush>
    <div id="row-filters" hidden=${!opened} class="filters">${opened && html`<${Filters} dataset=${dataset} query=${query} asked=${asked} set=${set} />`}</div>
    <${Loaded} from=${found.data ? found : { ...found, data: found.before?.dataset === dataset.name ? found.before : undefined }}>${(page) => html`
      <${Page} dataset=${dataset} page=${page} order=${asked.order} set=${set} />
      <div class="pager">
        <span class="note">${page.rows.length ? t('data.range', { from: number(offset + 1), to: number(offset + page.rows.length) }) : ''}</span>
        <${Button} small disabled=${!offset} run=${() => setQuery({ offset: Math.max(0, offset - PAGE) || null })}>${t('data.before')}<//>
        <${Button} small disabled=${page.next_offset === null} run=${() => setQuery({ offset: page.next_offset })}>${t('data.after')}<//>
      </div>`}<//>
  <//>`;
}

const meaningOf = (column) => (lang.get() === 'zh' ? column.meaning_zh || column.meaning : column.meaning || column.meaning_zh) || column.name;

/** Money has its two digits, other decimals as many as they need. */
function shown(value, column, numeric) {
  if (value === null) return NONE;
  if (!numeric || !Number.isFinite(Number(value))) return String(value);
  const short = column.type === 'decimal' && decimal(Number(value), 2) === decimal(Number(value), column.scale ?? 4);
  return short ? number(Number(value), 2) : decimal(Number(value), column.scale ?? 4);
}

function Page({ dataset, page, order, set }) {
  const columns = page.columns.map((name, place) => {
    const column = dataset.columns.find((one) => one.name === name) ?? { name };
    const numeric = ['decimal', 'int', 'float', 'number'].includes(column.type);
    const unit = column.unit && !['text', 'code', 'date', 'enum', 'unstated'].includes(column.unit) ? column.unit : '';
    return {
      name, label: name, title: `${meaningOf(column)}${unit ? ` (${unit})` : ''}`, number: numeric,
      value: (row) => row[place],
      view: (row) => shown(row[place], column, numeric),
    };
  });
  const sorted = order ? { name: order.replace(/^-/, ''), down: order.startsWith('-') } : null;
  return html`<${Table} label=${titleOf(dataset)} columns=${columns} rows=${page.rows} id=${(row) => page.rows.indexOf(row)} tall order=${sorted}
    onOrder=${({ name, down }) => set({ order: `${down ? '-' : ''}${name}` })}
    empty=${html`<${Empty} title=${t('data.no.rows')} text=${t('data.no.rows.text')}><${Button} href=${`/coverage/${dataset.name}`}>${t('nav.coverage')}<//><//>`} />`;
}

function Filters({ dataset, query, asked, set }) {
  const [column, setColumn] = useState(dataset.columns[0].name);
  const [value, setValue] = useState('');
  const options = dataset.columns.map((one) => ({ value: one.name, label: `${one.name} · ${meaningOf(one)}` }));
  const shown = query.columns ? query.columns.split(',') : dataset.columns.slice(0, COLUMNS_FIRST).map((one) => one.name);
  const add = (event) => {
    event.preventDefault();
    if (!value.trim()) return;
    set({ where: [...asked.where, `${column}:${value.trim()}`].join(';') });
    setValue('');
  };
  // In the order of the table, whatever was switched last.
  const choose = (names) => set({ columns: dataset.columns.map((one) => one.name).filter((name) => names.includes(name)).join(',') });
  const adjusted = dataset.columns.some((one) => one.name === 'close') && ['daily', 'weekly', 'monthly'].includes(dataset.name);
  return html`
    <div class="fields">
      ${dataset.time && html`<${RangeField} from=${asked.from} to=${asked.to} onInput=${({ from, to }) => set({ from, to })} />`}
      ${dataset.security && html`<${TextField} label=${t('data.codes')} hint=${t('data.codes.hint')} value=${asked.codes} onInput=${(text) => set({ codes: text.trim() })} />`}
      <${TextField} type="datetime-local" label=${t('data.as.of')} hint=${t('data.as.of.hint')} value=${query.as_of ?? ''} onInput=${(text) => set({ as_of: text })} />
      ${adjusted && html`<div class="field"><span>${t('data.adjust')}</span><${Choice} label=${t('data.adjust')} value=${asked.adjust || 'none'} options=${['none', 'qfq', 'hfq'].map((one) => ({ value: one, label: t(`adjust.${one}`) }))} onInput=${(one) => set({ adjust: one === 'none' ? null : one })} /></div>`}
    </div>
    <form class="fields where" onSubmit=${add}>
      <${SelectField} label=${t('data.column')} value=${column} options=${options} onInput=${setColumn} />
      <${TextField} label=${t('data.value')} hint=${t('data.value.hint')} value=${value} onInput=${setValue} />
      <div class="field go"><${Button} type="submit" icon="plus" disabled=${!value.trim()}>${t('data.filter.add')}<//></div>
    </form>
    ${asked.where.length > 0 && html`<div class="row">${asked.where.map((one, at) => html`<${Button} small icon="close" key=${one} run=${() => set({ where: asked.where.filter((_, place) => place !== at).join(';') })}>${one}<//>`)}</div>`}
    <details><summary>${t('data.columns', { shown: shown.length, all: dataset.columns.length })}</summary>
      <${Chips} label=${t('data.columns.label')} values=${shown} options=${dataset.columns.map((one) => ({ value: one.name, label: one.name, title: meaningOf(one) }))} onInput=${choose} /></details>
    ${dataset.about && html`<details><summary>${t('data.about')}</summary><p class="about">${dataset.about}</p></details>`}`;
}
