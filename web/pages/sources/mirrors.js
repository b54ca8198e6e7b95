// Reading from the mirrors: what to paste into Python.

import { useGet } from '../../api.js';
import { Card, Code, Tabs } from '../../components.js';
import { t } from '../../i18n.js';
import { html, useState } from '../../view.js';

const ADDRESSES = { tushare: 'mirror.listen', baostock: 'mirror.baostock_listen', aktools: 'mirror.aktools_listen' };
const OTHERWISE = { tushare: '127.0.0.1:7878', baostock: '127.0.0.1:10030', aktools: '127.0.0.1:8080' };

/** `0.0.0.0:7878` is reached by the name under which this page is. */
function reached(address) {
  const [host, port] = [address.slice(0, address.lastIndexOf(':')), address.slice(address.lastIndexOf(':') + 1)];
  return { host: ['0.0.0.0', '[::]', ''].includes(host) ? window.location.hostname : host, port };
}

const PROGRAMS = {
  tushare: ({ host, port }) => `import tushare
pro = tushare.pro_api('any'); pro._DataApi__http_url = 'http://${host}:${port}'
print(pro.daily(ts_code='600000.SH', start_date='20240102', end_date='20240131'))`,
  baostock: ({ host, port }) => `import baostock, baostock.common.contants as at; at.BAOSTOCK_SERVER_IP, at.BAOSTOCK_SERVER_PORT = '${host}', ${port}
baostock.login()
print(baostock.query_history_k_data_plus('sh.600000', 'date,open,close', start_date='2024-01-02').get_data())`,
  aktools: ({ host, port }) => `import requests
rows = requests.get('http://${host}:${port}/api/public/stock_zh_a_hist', params={'symbol': '600000'}).json()
print(rows[:3])`,
};

/** The value of an option; the service tells it as TOML, of which texts and lists of texts look like JSON. */
function setting(settings, option) {
  const told = settings?.items.find((one) => one.option === option)?.value;
  try { return JSON.parse(told); } catch { return told; }
}

export function Mirrors() {
  const settings = useGet('/api/v1/settings');
  const [shown, setShown] = useState('tushare');
  const served = setting(settings.data, 'serve.mirrors');
  const names = Object.keys(PROGRAMS).filter((name) => !served || served.includes(name));
  if (!names.length) return null;
  const name = names.includes(shown) ? shown : names[0];
  const address = setting(settings.data, ADDRESSES[name]) ?? OTHERWISE[name];
  return html`<${Card} id="mirrors" title=${t('mirrors')} note=${t('mirrors.note')}>
    <${Tabs} label=${t('mirrors')} tabs=${names.map((one) => ({ name: one, label: t(`mirror.${one}`) }))} value=${name} onInput=${setShown} />
    <div role="tabpanel" aria-label=${t(`mirror.${name}`)} class="stack">
      <p class="note">${t(`mirror.${name}.text`, { address: address })}</p>
      <${Code} text=${PROGRAMS[name](reached(address))} label=${t('mirrors.code')} />
    </div>
  <//>`;
}
