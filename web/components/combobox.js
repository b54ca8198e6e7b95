// A text field with suggestions, by keyboard, pointer and screen reader (the combobox pattern of ARIA 1.2).

import { t } from '../i18n.js';
import { html, useEffect, useRef, useState } from '../view.js';

const CALM_MS = 120;
let number = 0;

/**
 * `search(text, signal)` resolves to items, best first; `show(item)` draws one; `keyOf(item)` names it; `onPick(item)` takes it.
 * `text` is what the field holds while nobody types.
 */
export function Combobox({ label, text, placeholder, search, show, keyOf, onPick, autofocus = false }) {
  const [id] = useState(() => `combobox-${++number}`);
  const [typed, setTyped] = useState(null);
  const [found, setFound] = useState({ items: [], of: null, failed: null });
  const [active, setActive] = useState(0);
  const [open, setOpen] = useState(false);
  const list = useRef(null);
  const input = useRef(null);
  useEffect(() => { if (autofocus) input.current?.focus(); }, []);
  useEffect(() => {
    if (!open || typed === null) return undefined;
    const control = new AbortController();
    const timer = setTimeout(() => {
      search(typed, control.signal).then(
        (items) => { setFound({ items, of: typed, failed: null }); setActive(0); },
        (error) => { if (error.name !== 'AbortError') setFound({ items: [], of: typed, failed: error }); },
      );
    }, CALM_MS);
    return () => { clearTimeout(timer); control.abort(); };
  }, [typed, open]);
  useEffect(() => { list.current?.children[active]?.scrollIntoView({ block: 'nearest' }); }, [active]);
  const pick = (item) => {
    if (!item) return;
    setOpen(false);
    setTyped(null);
    onPick(item);
  };
  const move = (place) => {
    if (!open) { setOpen(true); setTyped((before) => before ?? ''); return; }
    const count = found.items.length;
    if (count) setActive((place + count) % count);
  };
  const onKeyDown = (event) => {
    if (event.isComposing) return;
    const act = {
      ArrowDown: () => move(active + 1),
      ArrowUp: () => move(active - 1),
      Enter: () => pick(open ? found.items[active] : null),
      Escape: () => { if (open) setOpen(false); else setTyped(null); },
    }[event.key];
    if (event.key === 'Tab') setOpen(false);
    if (!act) return;
    event.preventDefault();
    act();
  };
  const shown = open && found.of !== null;
  const option = (item, place) => html`
    <li key=${keyOf(item)} id=${`${id}-${place}`} role="option" aria-selected=${place === active ? 'true' : 'false'}
      onMouseDown=${(event) => { event.preventDefault(); pick(item); }} onMouseMove=${() => setActive(place)}>${show(item)}</li>`;
  return html`
    <div class="combobox">
      <input ref=${input} id=${id} type="text" role="combobox" autocomplete="off" spellcheck=${false} aria-label=${label}
        aria-autocomplete="list" aria-expanded=${shown ? 'true' : 'false'} aria-controls=${`${id}-list`}
        aria-activedescendant=${shown && found.items.length ? `${id}-${active}` : null} placeholder=${placeholder ?? label}
        value=${typed ?? text ?? ''} onInput=${(event) => { setTyped(event.target.value); setOpen(true); }}
        onKeyDown=${onKeyDown} onFocus=${(event) => event.target.select()}
        onClick=${() => { setTyped((before) => before ?? ''); setOpen(true); }}
        onBlur=${() => { setOpen(false); setTyped(null); }} />
      <ul id=${`${id}-list`} role="listbox" aria-label=${label} hidden=${!shown || !found.items.length} ref=${list}>
        ${shown && found.items.map(option)}
      </ul>
      <div class="combobox-none" role="status" hidden=${!shown || found.items.length > 0}>
        ${shown && !found.items.length ? (found.failed ? found.failed.message : t('combobox.none', { text: found.of })) : ''}
      </div>
    </div>`;
}
