// English, one file for each part of the dashboard.

import coverage from './en/coverage.js';
import desk from './en/desk.js';
import gate from './en/gate.js';
import overview from './en/overview.js';
import shell from './en/shell.js';
import sync from './en/sync.js';

export default { ...shell, ...overview, ...coverage, ...sync, ...desk, ...gate };
