// The settings of the node: a form for each, made from the descriptions that the program has.
import { el, button, field } from './dom.js';
import { text } from './strings.js';

/** A closed list of all settings. It is read when it is opened. `run` shows why a request failed. */
export function nodeSettings(app, run) {
  const list = el('div');
  const read = run(async () => {
    const settings = await (await app.connection.fetch('/settings')).json();
    const named = new Map(settings.map((setting) => [setting.name, setting]));
    const groups = text.settingGroups.map(([title, names]) => [title, names.map((name) => named.get(name)).filter(Boolean)]);
    const grouped = new Set(text.settingGroups.flatMap(([, names]) => names));
    groups.push([text.otherSettings, settings.filter(({ name }) => !grouped.has(name))]);
    list.replaceChildren(...groups.flatMap(([title, members]) => members.length
      ? [el('h3', {}, title), ...members.map((setting) => form(app, run, setting))] : []));
  });
  return el('details', { className: 'settings', ontoggle: (event) => event.target.open && list.childElementCount === 0 && read() },
    el('summary', {}, text.nodeSettings), el('p', { className: 'note' }, text.settingsNote), list);
}

function form(app, run, setting) {
  const { name, help, live, fixed_by: fixedBy } = setting;
  const input = control(setting);
  input.disabled = Boolean(fixedBy);
  const saved = el('p', { role: 'status', className: 'note' }, fixedBy ? text.fixedBy(fixedBy) : live ? '' : text.atNextStart);
  const put = async (value) => {
    saved.textContent = '';
    const response = await app.connection.fetch(`/settings/${name}`, { method: 'PUT', body: JSON.stringify(value) });
    const applied = await response.json();
    saved.textContent = live && applied ? text.settingApplied : text.settingSaved;
  };
  const save = run(() => put(typed(setting, input.value)));
  const about = el('p', { className: 'note' }, help);
  about.id = `about-${name}`;
  input.setAttribute('aria-describedby', about.id);
  const result = el('form', { onsubmit: (event) => { event.preventDefault(); save(); } },
    field(text.settingNames[name] ?? name, input), about,
    fixedBy ? null : el('div', { className: 'buttons' }, button(text.save, null, { type: 'submit' })), saved);
  result.dataset.setting = name;
  return result;
}

/** The input for a setting. Empty: the default applies. */
function control({ example, choices, value }) {
  const words = typeof example === 'boolean' ? ['true', 'false'] : choices;
  if (words.length) {
    const shown = value === null ? '' : String(value);
    return el('select', {}, ['', ...words].map((word) => el('option', { value: word, selected: word === shown }, word ? text.settingWords[word] ?? word : text.byDefault)));
  }
  const shown = value === null ? '' : Array.isArray(value) ? value.join(', ') : String(value);
  const hint = Array.isArray(example) ? example.join(', ') : String(example);
  return el('input', { value: shown, placeholder: text.example(hint), autocomplete: 'off', spellcheck: false, inputMode: typeof example === 'number' ? 'numeric' : 'text' });
}

/** The value that a text means for this setting. */
function typed({ example, value }, input) {
  const line = input.trim();
  if (line === '') return null;
  if (typeof example === 'boolean') return line === 'true';
  if (typeof example === 'number') return Number(line);
  // A word such as "nobody" may stand for a list.
  if (!Array.isArray(example) || (typeof value === 'string' && !line.includes(','))) return line;
  return line.split(',').map((word) => word.trim()).filter(Boolean);
}
