// Chinese, one file for each part of the dashboard.

import coverage from './zh/coverage.js';
import desk from './zh/desk.js';
import gate from './zh/gate.js';
import overview from './zh/overview.js';
import shell from './zh/shell.js';
import sync from './zh/sync.js';

export default { ...shell, ...overview, ...coverage, ...sync, ...desk, ...gate };
