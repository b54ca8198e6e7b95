// What is stored, to look at: candles of a security, rows of any table, statements side by side, the market of a day.

import { Tabs } from '../components.js';
import { t } from '../i18n.js';
import { go } from '../router.js';
import { html } from '../view.js';
import { Kline } from './data/kline.js';
import { Market } from './data/market.js';
import { Rows } from './data/rows.js';
import { Statements } from './data/statements.js';

const VIEWS = { kline: Kline, table: Rows, statements: Statements, market: Market };

export default function Page({ params, query }) {
  const view = VIEWS[params.view] ? params.view : 'kline';
  const tabs = Object.keys(VIEWS).map((name) => ({ name, label: t(`data.${name}`) }));
  return html`
    <${Tabs} label=${t('nav.data')} tabs=${tabs} value=${view} onInput=${(name) => go(`/data/${name}`)} />
    <div role="tabpanel" aria-label=${t(`data.${view}`)} class="stack"><${VIEWS[view]} key=${view} name=${params.name} query=${query} /></div>`;
}
