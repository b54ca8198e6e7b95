// Every page: one line here, one file beside it whose default export is the view.
// The view is called with { params, query }; its name in the menu is the text `nav.<name>`, `key` its shortcut after `g`.

export const pages = [
  { name: 'overview', path: '/', group: 'watch', icon: 'overview', key: 'o', load: () => import('./overview.js') },
  { name: 'coverage', path: '/coverage/:dataset?', group: 'watch', icon: 'coverage', key: 'c', load: () => import('./coverage.js') },
  { name: 'sync', path: '/sync', group: 'act', icon: 'sync', key: 's', load: () => import('./sync.js') },
  { name: 'tasks', path: '/tasks/:id?', group: 'act', icon: 'tasks', key: 't', load: () => import('./tasks.js') },
  { name: 'runs', path: '/runs/:id?', icon: 'tasks', key: 'r', load: () => import('./tasks.js') },
  { name: 'failures', path: '/failures', group: 'act', icon: 'failures', key: 'f', load: () => import('./failures.js') },
  { name: 'data', path: '/data/:view?/:name?', group: 'look', icon: 'data', key: 'd', load: () => import('./data.js') },
  { name: 'events', path: '/events/:number?', group: 'gate', icon: 'events', key: 'e', load: () => import('./events.js') },
  { name: 'vouchers', path: '/vouchers/:no?', icon: 'events', key: 'h', load: () => import('./vouchers.js') },
  { name: 'deliveries', path: '/deliveries/:event?/:subscription?', group: 'gate', icon: 'deliveries', key: 'v', load: () => import('./deliveries.js') },
  { name: 'subscriptions', path: '/subscriptions/:name?', group: 'gate', icon: 'subscriptions', key: 'b', load: () => import('./subscriptions.js') },
  { name: 'signatures', path: '/signatures', group: 'gate', icon: 'signatures', key: 'n', load: () => import('./signatures.js') },
  { name: 'reconciliations', path: '/reconciliations/:id?', group: 'gate', icon: 'reconciliations', key: 'k', load: () => import('./reconciliations.js') },
  { name: 'sources', path: '/sources', group: 'run', icon: 'sources', key: 'q', load: () => import('./sources.js') },
  { name: 'jobs', path: '/jobs', group: 'run', icon: 'jobs', key: 'j', load: () => import('./jobs.js') },
  { name: 'logs', path: '/logs', group: 'run', icon: 'logs', key: 'l', load: () => import('./logs.js') },
  { name: 'settings', path: '/settings', group: 'run', icon: 'settings', key: ',', load: () => import('./settings.js') },
];

export const groups = ['watch', 'act', 'look', 'gate', 'run'];
