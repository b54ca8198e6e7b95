// JSON as text: set in lines and taken apart without reading its numbers, so that no digit of an amount is lost.

/** Where the string that begins at `at` ends: the place after its closing quote. */
function stringEnd(text, at) {
  for (let place = at + 1; place < text.length; place += 1) {
    if (text[place] === '\\') place += 1;
    else if (text[place] === '"') return place + 1;
  }
  return text.length;
}

/** Where the value that begins at `at` ends. */
function valueEnd(text, at) {
  let depth = 0;
  for (let place = at; place < text.length; place += 1) {
    const letter = text[place];
    if (letter === '"') place = stringEnd(text, place) - 1;
    else if (letter === '{' || letter === '[') depth += 1;
    else if (letter === '}' || letter === ']') { depth -= 1; if (depth < 0) return place; if (depth === 0) return place + 1; }
    else if (letter === ',' && depth === 0) return place;
  }
  return text.length;
}

/** Members of the object that `text` is: [name, text of the value] each; none where it is no object. */
export function members(text) {
  const found = [];
  let place = text.indexOf('{') + 1;
  if (!place || text.slice(0, place - 1).trim()) return found;
  while (place < text.length) {
    const begin = text.indexOf('"', place);
    if (begin < 0) break;
    const end = stringEnd(text, begin);
    const colon = text.indexOf(':', end);
    if (colon < 0) break;
    const close = valueEnd(text, colon + 1);
    found.push([JSON.parse(text.slice(begin, end)), text.slice(colon + 1, close).trim()]);
    if (text[close] !== ',') break;
    place = close + 1;
  }
  return found;
}

/** The text of one member, exactly as it was sent; undefined where there is none. */
export const member = (text, name) => members(text).find(([found]) => found === name)?.[1];

/** The same JSON with a member a line; what is no JSON stays as it is. */
export function pretty(text) {
  try { JSON.parse(text); } catch { return text; }
  let out = '';
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  for (let place = 0; place < text.length; place += 1) {
    const letter = text[place];
    if (letter === '"') {
      const end = stringEnd(text, place);
      out += text.slice(place, end);
      place = end - 1;
    } else if (letter === '{' || letter === '[') {
      const rest = /\S/.exec(text.slice(place + 1))?.[0];
      if (rest === '}' || rest === ']') { out += letter + rest; place = text.indexOf(rest, place); } else { depth += 1; out += letter + line(); }
    } else if (letter === '}' || letter === ']') {
      depth -= 1;
      out += line() + letter;
    } else if (letter === ',') out += letter + line();
    else if (letter === ':') out += ': ';
    else if (!/\s/.test(letter)) out += letter;
  }
  return out;
}
