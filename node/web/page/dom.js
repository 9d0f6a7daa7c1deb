// Builds elements. Text becomes text nodes only, so text of peers is never markup.
import { icon } from './icons.js';

/** Creates an element. `properties` are DOM properties; names with a dash are attributes. */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false && key.includes('-')) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key.includes('-') || key === 'role' || key === 'for') element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function button(label, action, properties = {}) {
  return el('button', { type: 'button', onclick: action, ...properties }, label);
}

/** A button with an icon: its label is for screen readers and as a tip. */
export function iconButton(name, label, action, properties = {}) {
  return button(icon(name), action, { 'aria-label': label, title: label, ...properties });
}

let fields = 0;
export function field(label, input) {
  input.id ||= `field-${++fields}`;
  return el('div', { className: 'field' }, el('label', { for: input.id }, label), input);
}

/** A list to choose from: values and their labels. */
export function select(choices, properties = {}) {
  return el('select', properties, choices.map(([value, label]) => el('option', { value }, label)));
}

const LINK = /https?:\/\/[^\s<>"']+/g;

/** Text, in which web addresses are links. They are made of their own text only. */
export function linked(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const url = match[0].replace(/[.,;:!?)\]]+$/, '');
    parts.push(text.slice(end, match.index));
    parts.push(el('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, url));
    end = match.index + url.length;
  }
  parts.push(text.slice(end));
  return parts;
}

const SVG = 'http://www.w3.org/2000/svg';

/** A QR code from rows of 1 and 0. */
export function qrCode(rows, label) {
  const size = rows.length + 8;
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('class', 'qr');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  const light = document.createElementNS(SVG, 'rect');
  light.setAttribute('width', size);
  light.setAttribute('height', size);
  light.setAttribute('fill', '#fff');
  const dark = document.createElementNS(SVG, 'path');
  let path = '';
  rows.forEach((row, y) => [...row].forEach((bit, x) => {
    if (bit === '1') path += `M${x + 4} ${y + 4}h1v1h-1z`;
  }));
  dark.setAttribute('d', path);
  dark.setAttribute('fill', '#000');
  svg.append(light, dark);
  return svg;
}
