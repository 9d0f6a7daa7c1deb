// Times and sizes in words.
import { text } from './strings.js';

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

export function shortTime(iso) {
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  return today ? time.format(date) : `${day.format(date)}, ${time.format(date)}`;
}

export function fullTime(iso) {
  return full.format(new Date(iso));
}

export function size(bytes) {
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < text.bytes.length - 1) {
    value /= 1000;
    unit += 1;
  }
  if (bytes === 1) return text.oneByte;
  return `${unit === 0 ? value : value.toFixed(1)} ${text.bytes[unit]}`;
}
