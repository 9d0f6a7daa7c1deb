// The signs for emphasis that people write, as Markdown has them: **bold**, *italic*, `code`, fenced code,
// and > quotes. The signs stay, so a text that is copied is the text that was written. The result is made
// of elements and text nodes: text of peers is never markup. The terminal has the same rules.
import { el, linked } from './dom.js';

const FENCE = '```';
const EMPHASIS_MAX = 1000;
const DEPTH_MAX = 3;
const SIGNS = '*_`';
const WORD = /[\p{Alphabetic}\p{N}]/u;
const SPACE = /\s/u;

const [BOLD, ITALIC, CODE, QUOTE, SIGN] = [1, 2, 4, 8, 16];

/** The nodes of a text. */
export function marked(text) {
  if (!/[*_`>]/.test(text)) return linked(text);
  const nodes = [];
  let inCode = false;
  text.split('\n').forEach((line, index) => {
    if (index) nodes.push('\n');
    const chars = Array.from(line);
    const styles = new Uint8Array(chars.length);
    const isFence = line.trimStart().startsWith(FENCE);
    if (isFence || inCode) styles.fill(isFence ? CODE | SIGN : CODE);
    else styleLine(chars, styles);
    if (isFence) inCode = !inCode;
    nodes.push(...pieces(chars, styles));
  });
  return nodes;
}

/** The places where a part of the characters begins whose styles are alike, apart from `except`. */
function* parts(styles, from, to, except) {
  for (let at = from; at < to;) {
    let end = at + 1;
    while (end < to && (styles[end] | except) === (styles[at] | except)) end += 1;
    yield [at, end];
    at = end;
  }
}

/** One node for each run of characters in one style, with its signs. */
function pieces(chars, styles) {
  const nodes = [];
  for (const [from, to] of parts(styles, 0, chars.length, SIGN)) {
    const inner = [];
    for (const [at, end] of parts(styles, from, to, 0)) {
      const words = chars.slice(at, end).join('');
      if (styles[at] & SIGN) inner.push(el('span', { className: 'sign' }, words));
      else inner.push(...(styles[at] & CODE ? [words] : linked(words)));
    }
    nodes.push(...styled(inner, styles[from]));
  }
  return nodes;
}

function styled(inner, style) {
  let nodes = inner;
  const wrap = (flag, name, properties) => {
    if (style & flag) nodes = [el(name, properties, nodes)];
  };
  wrap(CODE, 'code', {});
  wrap(BOLD, 'strong', {});
  wrap(ITALIC, 'em', {});
  wrap(QUOTE, 'span', { className: 'quoted' });
  return nodes;
}

function styleLine(chars, styles) {
  const quote = chars[0] === '>';
  if (quote) {
    styles.fill(QUOTE);
    styles[0] |= SIGN;
  }
  inline(chars, styles, quote ? 1 : 0, chars.length, 0);
}

/** Finds emphasis between two places. The styles have what is around it. */
function inline(chars, styles, start, stop, depth) {
  for (let at = start; at < stop;) {
    const sign = chars[at];
    if (!SIGNS.includes(sign)) {
      at += Math.max(1, link(chars, at, start, stop));
      continue;
    }
    const run = runOf(chars, at, stop);
    const inner = at + run;
    let end = null;
    if (sign === '`' || run <= 3 && opens(chars, at, run, start, stop)) end = closing(chars, inner, run, stop);
    if (end === null) {
      at = inner;
      continue;
    }
    for (let place = at; place < end + run; place += 1) {
      if (sign === '`') styles[place] |= CODE;
      else styles[place] |= (run >= 2 ? BOLD : 0) | (run !== 2 ? ITALIC : 0);
      if (place < inner || place >= end) styles[place] |= SIGN;
    }
    if (sign !== '`' && depth < DEPTH_MAX) inline(chars, styles, inner, end, depth + 1);
    at = end + run;
  }
}

function runOf(chars, at, stop) {
  let end = at;
  while (end < stop && chars[end] === chars[at]) end += 1;
  return end - at;
}

/** The number of characters of a link that begins here. Its signs are no emphasis. */
function link(chars, at, start, stop) {
  if (chars[at] !== 'h' || at > start && WORD.test(chars[at - 1])) return 0;
  if (!/^https?:\/\//.test(chars.slice(at, at + 8).join(''))) return 0;
  let end = at;
  while (end < stop && !SPACE.test(chars[end])) end += 1;
  return end - at;
}

/** Whether a run of signs is at the start of a word. snake_case and 2*3 have none. */
function opens(chars, at, run, start, stop) {
  const begins = at === start || !WORD.test(chars[at - 1]);
  return begins && at + run < stop && !SPACE.test(chars[at + run]);
}

/** Where the signs begin that end an emphasis. */
function closing(chars, inner, run, stop) {
  const sign = chars[inner - 1];
  const last = Math.min(stop, inner + EMPHASIS_MAX);
  for (let at = inner; at < last;) {
    if (chars[at] !== sign) {
      at += 1;
      continue;
    }
    const length = runOf(chars, at, stop);
    const after = at + length;
    const endsWord = !SPACE.test(chars[at - 1]) && (after >= stop || !WORD.test(chars[after]));
    if (length === run && at > inner && (sign === '`' || endsWord)) return at;
    at += length;
  }
  return null;
}
