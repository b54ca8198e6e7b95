// The page "sync".

import { Empty } from '../components.js';
import { t } from '../i18n.js';
import { html } from '../view.js';

export default function Page() {
  return html`<${Empty} title=${t('nav.sync')} />`;
}
