// Icons as paths on a grid of 24 by 24. Fonts do not have them everywhere.
const SVG = 'http://www.w3.org/2000/svg';

const PATHS = {
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4',
  attach: 'M8 12l6-6a3.5 3.5 0 0 1 5 5l-8 8a5.5 5.5 0 0 1-8-8l7-7',
  folder: 'M3 6h6l2 3h10v10H3z',
  reply: 'M9 6l-5 5 5 5M4 11h9a6 6 0 0 1 6 6v1',
  thread: 'M5 5v9a4 4 0 0 0 4 4h10M15 14l4 4-4 4M10 7h9M10 11h9',
  info: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v6M12 7v.5',
  keys: 'M9.5 9a2.5 2.5 0 1 1 3.5 2.3c-.7.4-1 .9-1 1.7M12 16.5v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z',
  react: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8 14a4.5 4.5 0 0 0 8 0M9 9v.5M15 9v.5',
  pin: 'M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v6',
  edit: 'M4 20l1-4L16 5l3 3L8 19z',
  remove: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5',
  back: 'M14 5l-7 7 7 7',
  details: 'M5 12h.5M12 12h.5M19 12h.5',
  close: 'M6 6l12 12M18 6L6 18',
};

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}
