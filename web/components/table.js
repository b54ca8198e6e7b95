// Tables: sorting by a click or Enter on a head, arrows move between rows, Enter opens one. They scroll inside themselves.

import { NONE } from '../format.js';
import { t } from '../i18n.js';
import { html, useMemo, useState } from '../view.js';
import { Button } from './parts.js';

function compare(one, other) {
  if (one === other) return 0;
  if (one === null || one === undefined) return 1;
  if (other === null || other === undefined) return -1;
  if (typeof one === 'number' && typeof other === 'number') return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}

function sortedBy(rows, columns, order) {
  const column = order && columns.find((one) => one.name === order.name);
  if (!column) return rows;
  const value = column.value ?? ((row) => row[column.name]);
  const sign = order.down ? -1 : 1;
  const absent = (found) => found === null || found === undefined;
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    return absent(a) || absent(b) ? compare(a, b) : sign * compare(a, b);
  });
}

/**
 * columns: { name, label, value(row) for sorting, view(row) for showing, number: true aligns right, sort: false, title,
 * width, wrap: true, hide: 'phone' }. `id(row)` names a row; `open(row)` makes rows open on click and Enter; `selected`
 * is the id of the marked row. `groupBy(row)` names the group of a row; `groups` [{ name, label, folded }] is their order. `order` { name, down } sorts at first; with `onOrder` the caller sorts.
 */
export function Table({
  columns, rows, groupBy, groups, id = (row) => row.id ?? row.name, open, selected, order: first, onOrder, label, empty, sticky = true, tall, rowClass,
}) {
  const [chosen, setChosen] = useState(null);
  const [shown, setShown] = useState(500);
  const [folds, setFolds] = useState({});
  const order = onOrder ? first : chosen ?? first;
  const all = useMemo(() => (onOrder ? rows : sortedBy(rows, columns, order)), [rows, columns, order?.name, order?.down, onOrder]);
  if (!rows.length && empty) return empty;
  const sort = (column) => {
    const next = { name: column.name, down: order?.name === column.name ? !order.down : Boolean(column.number) };
    if (onOrder) onOrder(next); else setChosen(next);
  };
  const move = (event, row) => {
    const lines = [...event.currentTarget.closest('table').querySelectorAll('tbody tr.opens')];
    const at = lines.indexOf(event.currentTarget);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1 }[event.key];
    if (to !== undefined && lines[to]) {
      event.preventDefault();
      lines[to].focus();
    } else if (event.key === 'Enter' && open && event.target === event.currentTarget) {
      event.preventDefault();
      open(row);
    }
  };
  const click = (event, row) => {
    if (event.target.closest('a, button, input, select, label')) return;
    if (String(getSelection())) return;
    open(row);
  };
  const hidden = (column) => (column.hide ? ` hide-${column.hide}` : '');
  const head = (column) => {
    const on = order?.name === column.name;
    const classes = `${column.number ? 'number' : ''}${hidden(column)}`;
    if (column.sort === false || !column.label) return html`<th key=${column.name} scope="col" class=${classes} title=${column.title}>${column.label ?? html`<span class="unseen">${t('table.actions')}</span>`}</th>`;
    return html`<th key=${column.name} scope="col" class=${classes} aria-sort=${on ? (order.down ? 'descending' : 'ascending') : undefined} style=${{ width: column.width }}>
      <button type="button" class="sort" title=${column.title} onClick=${() => sort(column)}>${column.label}<span class="mark" aria-hidden="true">${on ? (order.down ? '▾' : '▴') : ''}</span></button></th>`;
  };
  const part = all.slice(0, shown);
  const line = (row, at) => {
    const key = id(row) ?? at;
    return html`<tr key=${key} class=${`${open ? 'opens' : ''} ${rowClass?.(row) ?? ''}`} tabindex=${open ? (row === part[0] ? 0 : -1) : undefined} aria-selected=${selected !== undefined && selected === key ? 'true' : undefined}
      onClick=${open ? (event) => click(event, row) : undefined} onKeyDown=${open ? (event) => move(event, row) : undefined}>
      ${columns.map((column) => html`<td key=${column.name} data-label=${column.number ? column.label : undefined} class=${`${column.number ? 'number' : ''}${column.wrap ? ' wrap' : ''}${hidden(column)}`}>${column.view ? column.view(row) : row[column.name] ?? NONE}</td>`)}
    </tr>`;
  };
  const grouped = () => groups.map((group) => {
    const members = part.filter((row) => groupBy(row) === group.name);
    const folded = folds[group.name] ?? Boolean(group.folded);
    return members.length > 0 && html`<tbody key=${group.name}>
      <tr class="group"><th colspan=${columns.length} scope="rowgroup"><button type="button" aria-expanded=${folded ? 'false' : 'true'} onClick=${() => setFolds({ ...folds, [group.name]: !folded })}>
        <span class="mark" aria-hidden="true">${folded ? '▸' : '▾'}</span>${group.label} <span class="count">${members.length}</span></button></th></tr>${!folded && members.map(line)}</tbody>`;
  });
  return html`<div class=${`table${sticky ? ' sticky' : ''}${tall ? ' tall' : ''}`} tabindex="0" role="group" aria-label=${label}>
    <table>
      <thead><tr>${columns.map(head)}</tr></thead>
      ${groupBy ? grouped() : html`<tbody>${part.map(line)}</tbody>`}
    </table>
    ${all.length > shown && html`<div class="more"><${Button} small run=${() => setShown(shown + 1000)}>${t('table.more', { shown, all: all.length })}<//></div>`}
  </div>`;
}
