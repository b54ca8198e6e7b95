// Icons: strokes on a 20 by 20 grid, in the colour of the text.

import { html } from '../view.js';

const paths = {
  overview: 'M3 3h6v6H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 11h6v6H3z',
  coverage: 'M3 5h14v12H3zM3 8.500h14M7 3v3M13 3v3M6.500 12h2M11.500 12h2M6.500 14.500h2',
  sync: 'M16.500 8A7 7 0 0 0 4 6.500L3 8M3 4v4h4M3.500 12A7 7 0 0 0 16 13.500l1-1.500M17 16v-4h-4',
  tasks: 'M3 5l1.500 1.500L7 4M9.500 5.500H17M3 10l1.500 1.500L7 9M9.500 10.500H17M3 15l1.500 1.500L7 14M9.500 15.500H17',
  failures: 'M10 3l7.500 13.500h-15zM10 8v4M10 14v.5',
  data: 'M3 17h14M5.500 14V8M5.500 6V5M10 14V5M14.500 14v-4M14.500 8V6M4.500 8h2v4h-2zM9 6h2v6H9zM13.500 8h2v4h-2z',
  events: 'M11 2.500L4.500 11.500h5L9 17.500l6.500-9h-5z',
  deliveries: 'M3 4.500h14v11H3zM3 5l7 6 7-6',
  subscriptions: 'M5.500 12.500a4.500 4.500 0 0 1 9 0V14h-9zM4 14h12M10 8V5.500M8.500 16.500h3M6 4.500a6 6 0 0 1 8 0',
  signatures: 'M10 2.500l6 2v5c0 4-2.500 6.500-6 8-3.500-1.500-6-4-6-8v-5zM7 10l2.200 2.200L13.200 8',
  reconciliations: 'M10 3v14M5 17h10M4 6l6-1.500L16 6M4 6l-2 5.500a2.500 2.500 0 0 0 4 0zM16 6l-2 5.500a2.500 2.500 0 0 0 4 0z',
  sources: 'M10 3c4 0 6.500 1 6.500 2.500S14 8 10 8 3.500 7 3.500 5.500 6 3 10 3zM3.500 5.500v9C3.500 16 6 17 10 17s6.500-1 6.500-2.500v-9M3.500 10c0 1.500 2.500 2.500 6.500 2.500s6.500-1 6.500-2.500',
  jobs: 'M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 6v4.500l3 1.500',
  logs: 'M4 3h9l3 3v11H4zM7 8h6M7 11h6M7 14h4',
  settings: 'M4 5h8M15 5h1M4 10h1M8 10h8M4 15h6M13 15h3M13.500 3.500v3M6.500 8.500v3M11.500 13.500v3',
  menu: 'M3 5h14M3 10h14M3 15h14',
  close: 'M5 5l10 10M15 5L5 15',
  check: 'M4 10.500l4 4 8-9',
  chevron: 'M7 4l6 6-6 6',
  down: 'M4 7l6 6 6-6',
  up: 'M4 13l6-6 6 6',
  sun: 'M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM10 2v2M10 16v2M2 10h2M16 10h2M4.300 4.300l1.400 1.400M14.300 14.300l1.400 1.400M4.300 15.700l1.400-1.400M14.300 5.700l1.400-1.400',
  moon: 'M16.500 12A7 7 0 0 1 8 3.500a7 7 0 1 0 8.500 8.500z',
  auto: 'M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 3v14M10 6.500l4.500-1M10 10h6.500M10 13.500l4.500 1',
  search: 'M9 3.500a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11zM13 13l4 4',
  help: 'M10 2.500a7.500 7.500 0 1 0 0 15 7.500 7.500 0 0 0 0-15zM7.800 7.800A2.200 2.200 0 1 1 10 10.500v1M10 13.500v.6',
  play: 'M6 4l10 6-10 6z',
  pause: 'M7 4v12M13 4v12',
  stop: 'M5 5h10v10H5z',
  retry: 'M16.500 10A6.500 6.500 0 1 1 14 5l2.500 2M16.500 3v4h-4',
  download: 'M10 3v9M6 8.500l4 4 4-4M3.500 16.500h13',
  copy: 'M7 7h9v10H7zM4 13V3h9',
  link: 'M8 12l4-4M7 9l-2 2a3 3 0 0 0 4 4l2-2M13 11l2-2a3 3 0 0 0-4-4L9 7',
  plus: 'M10 4v12M4 10h12',
  filter: 'M3 4h14l-5.500 6.500V16l-3-1.500v-4z',
  logout: 'M12 3H4v14h8M9 10h8M14 7l3 3-3 3',
  person: 'M10 3a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM3.500 17c.5-3.500 3-5 6.500-5s6 1.500 6.500 5',
};

/** `<${Icon} name="sync" />`; it says nothing to screen readers: put a text beside it. */
export function Icon({ name, size = 16 }) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d=${paths[name] ?? paths.help} /></svg>`;
}
