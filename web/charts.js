// Chart libraries, loaded when a page first needs them. They are classic scripts that set one global each.

const scripts = new Map();

function script(url, name) {
  if (!scripts.has(url)) {
    scripts.set(url, new Promise((resolve, reject) => {
      const element = document.createElement('script');
      element.src = url;
      element.onload = () => resolve(window[name]);
      element.onerror = () => { scripts.delete(url); reject(new Error(`${url} cannot be loaded`)); };
      document.head.append(element);
    }));
  }
  return scripts.get(url);
}

/** Candles: resolves to the library `klinecharts`. */
export function klinecharts() {
  return script('/vendor/klinecharts-10.0.2/klinecharts.min.js', 'klinecharts');
}

/** Lines: resolves to the class `uPlot`. */
export function uplot() {
  if (!document.querySelector('link[data-uplot]')) {
    const link = document.createElement('link');
    link.rel = 'stylesheet';
    link.href = '/vendor/uplot-1.6.32/uPlot.min.css';
    link.dataset.uplot = '';
    document.head.append(link);
  }
  return script('/vendor/uplot-1.6.32/uPlot.iife.min.js', 'uPlot');
}

/** A colour of the theme by the name of its custom property: `colour('--up')`. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
