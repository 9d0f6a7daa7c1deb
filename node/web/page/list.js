// A virtual list: only the rows near the visible part are in the document. Rows have any height: it is
// estimated until a row was shown, and measured then.

const ESTIMATE = 52;
const BEYOND = 600;
const NEAR_END = 40;
const ROUNDS_MAX = 4;
const PAUSE_MS = 120;
const FINISH_MS = 8;

export class VirtualList {
  #items = [];
  /** The first and the last key of the items, whose array its owner may extend. */
  #ends = [];
  #heights = [];
  #tops = new Float64Array(1);
  /** So many of the tops after the first are right. */
  #exact = 0;
  #rows = new Map();
  #measured = new Map();
  /** The rows that are not finished, and their items. */
  #unfinished = new Map();
  #pause = 0;
  #frame = 0;
  #atEnd = true;
  #width = 0;
  #drawnAt = -Infinity;

  /**
   * `key(item)` identifies an item, and `render(item)` makes its row. `finish(item, row)` adds what
   * takes no space, once scrolling pauses or somebody uses the row. `older()` is called near the top.
   */
  constructor(scroller, { key, render, finish, older, ended }) {
    Object.assign(this, { scroller, key, render, finish, older, ended });
    this.body = scroller.appendChild(document.createElement('div'));
    this.body.className = 'rows';
    for (const name of ['pointerover', 'focusin']) {
      this.body.addEventListener(name, (event) => this.#finishRow(event.target.closest('.rows > *')));
    }
    scroller.addEventListener('scroll', () => {
      const atEnd = this.#distance() < NEAR_END;
      if (atEnd !== this.#atEnd) {
        this.#atEnd = atEnd;
        this.ended(atEnd);
      }
      this.#schedule();
    }, { passive: true });
    new ResizeObserver(() => {
      if (scroller.clientWidth !== this.#width) {
        this.#width = scroller.clientWidth;
        this.#measured.clear();
        this.#heights = this.#items.map(() => ESTIMATE);
        this.#exact = 0;
      }
      this.#draw();
    }).observe(scroller);
  }

  get length() {
    return this.#items.length;
  }

  get atEnd() {
    return this.#atEnd;
  }

  /** Shows other items. `stay` keeps the visible rows where they are. */
  set(items, { stay = true } = {}) {
    const anchor = stay && !this.#atEnd ? this.#anchor() : null;
    const count = this.#heights.length;
    const added = items.length - count;
    const [first, last] = this.#ends;
    const has = (index, key) => index >= 0 && index < items.length && this.key(items[index]) === key;
    const estimates = () => Array(added).fill(ESTIMATE);
    // Most changes add items before or after the others.
    if (count > 0 && has(0, first) && has(count - 1, last)) this.#heights.push(...estimates());
    else if (count > 0 && has(added, first) && has(items.length - 1, last)) {
      this.#heights = estimates().concat(this.#heights);
      this.#exact = 0;
    } else {
      this.#heights = items.map((item) => this.#measured.get(this.key(item)) ?? ESTIMATE);
      this.#exact = 0;
    }
    this.#items = items;
    this.#ends = items.length ? [this.key(items[0]), this.key(items.at(-1))] : [];
    if (!stay) this.#atEnd = true;
    this.#draw(anchor);
  }

  /** Draws the row of an item again. */
  refresh(key) {
    this.#refresh([key]);
  }

  refreshAll() {
    this.#refresh([...this.#rows.keys()]);
  }

  #refresh(keys) {
    let focused = null;
    let drawn = false;
    for (const key of keys) {
      this.#measured.delete(key);
      const row = this.#rows.get(key);
      if (!row) continue;
      drawn = true;
      if (this.#focused(row.element)) focused = key;
      this.#drop(key, row);
    }
    if (drawn) this.#draw();
    if (focused !== null) this.#rows.get(focused)?.element.focus({ preventScroll: true });
  }

  #drop(key, { element }) {
    element.remove();
    this.#rows.delete(key);
    this.#unfinished.delete(element);
  }

  toEnd() {
    this.#atEnd = true;
    this.#draw();
    this.ended(true);
  }

  /** Scrolls to an item, and returns its row. */
  show(key) {
    const index = this.#index(key);
    if (index < 0) return null;
    // Measuring moves rows, so the second round is exact.
    for (let round = 0; round < 3; round += 1) {
      this.#atEnd = false;
      const middle = (this.scroller.clientHeight - this.#heights[index]) / 2;
      this.scroller.scrollTop = this.#top(index) - Math.max(0, middle);
      this.#draw();
    }
    return this.#rows.get(key)?.element ?? null;
  }

  /** The row before or after another one, which is drawn if it was not. */
  beside(key, step) {
    const index = this.#index(key) + step;
    const item = this.#items[index];
    if (!item) return null;
    const drawn = this.#rows.get(this.key(item))?.element;
    if (drawn) {
      drawn.scrollIntoView({ block: 'nearest' });
      return drawn;
    }
    return this.show(this.key(item));
  }

  last() {
    this.toEnd();
    const item = this.#items.at(-1);
    return item ? this.#rows.get(this.key(item))?.element : null;
  }

  #index(key) {
    return this.#items.findIndex((item) => this.key(item) === key);
  }

  /** A row with the keyboard focus stays in the document. */
  #focused(element) {
    return element.contains(document.activeElement);
  }

  #distance() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #top(index) {
    if (this.#tops.length <= this.#items.length) {
      // With room for more, because a new array for each older page is much garbage.
      const tops = new Float64Array(2 * this.#items.length + 1);
      tops.set(this.#tops);
      this.#tops = tops;
    }
    for (; this.#exact < index; this.#exact += 1) this.#tops[this.#exact + 1] = this.#tops[this.#exact] + this.#heights[this.#exact];
    return this.#tops[index];
  }

  /** The last item that begins at or above a height. */
  #at(y) {
    let low = 0;
    let high = this.#items.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#top(middle) <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The first visible item, and how far it is above the visible part. */
  #anchor() {
    if (this.#items.length === 0) return null;
    const index = this.#at(this.scroller.scrollTop);
    return { key: this.key(this.#items[index]), index, offset: this.scroller.scrollTop - this.#top(index) };
  }

  /**
   * Draws the rows near the visible part. Reading a size makes the browser lay out what has changed,
   * so sizes are read first, then those of all new rows at once, and the position is set last.
   */
  #draw(anchor = this.#atEnd ? null : this.#anchor()) {
    const { scroller } = this;
    const height = scroller.clientHeight;
    if (height === 0) return;
    const from = scroller.scrollTop;
    // After a jump, the rows beyond the visible part are drawn in the next frame, unless it jumps again.
    const jumped = Math.abs(from - this.#drawnAt) > height;
    const beyond = jumped ? 0 : BEYOND;
    let top = this.#wanted(from, height, anchor);
    for (let round = 0; round < ROUNDS_MAX && this.#fill(top - beyond, top + height + beyond); round += 1) {
      top = this.#wanted(from, height, anchor);
    }
    this.body.style.height = `${this.#top(this.#items.length)}px`;
    if (Math.abs(from - top) >= 1) scroller.scrollTop = top;
    this.#place();
    this.#drawnAt = top;
    if (jumped) this.#schedule();
    if (this.#unfinished.size) this.#finishSoon();
    if (top < BEYOND) this.older();
  }

  /** Where the visible part begins: at the end, or so that the anchor stays where it was. */
  #wanted(from, height, anchor) {
    const end = Math.max(0, this.#top(this.#items.length) - height);
    if (this.#atEnd) return end;
    let top = from;
    if (anchor) {
      const same = this.#items[anchor.index];
      const index = same && this.key(same) === anchor.key ? anchor.index : this.#index(anchor.key);
      if (index >= 0) top = this.#top(index) + anchor.offset;
    }
    return Math.min(Math.max(0, top), end);
  }

  /** Makes the rows between two heights, and measures the new ones. True if a height has changed. */
  #fill(from, end) {
    const needed = new Set();
    const first = this.#items.length ? this.#at(from) : 0;
    for (let index = first; index < this.#items.length && this.#top(index) < end; index += 1) {
      const item = this.#items[index];
      const key = this.key(item);
      needed.add(key);
      let row = this.#rows.get(key);
      if (!row) {
        row = { element: this.render(item), index, top: -1, place: '' };
        this.#rows.set(key, row);
        this.#unfinished.set(row.element, item);
      }
      row.index = index;
    }
    for (const [key, row] of this.#rows) {
      if (needed.has(key)) continue;
      row.index = this.#focused(row.element) ? this.#index(key) : -1;
      if (row.index < 0) this.#drop(key, row);
    }
    this.#order();
    let changed = false;
    for (const [key, { element, index }] of this.#rows) {
      if (!this.#measured.has(key)) this.#measured.set(key, element.offsetHeight);
      const height = this.#measured.get(key);
      if (this.#heights[index] === height) continue;
      this.#heights[index] = height;
      this.#exact = Math.min(this.#exact, index);
      changed = true;
    }
    return changed;
  }

  /** Rows are in the document in the order of the items, for screen readers and the Tab key. */
  #order() {
    let next = this.body.firstChild;
    for (const { element } of [...this.#rows.values()].sort((one, other) => one.index - other.index)) {
      if (element === next) next = next.nextSibling;
      else this.body.insertBefore(element, next);
    }
  }

  #place() {
    for (const row of this.#rows.values()) {
      const top = this.#top(row.index);
      if (row.top !== top) row.element.style.transform = `translateY(${top}px)`;
      row.top = top;
      const place = `${row.index + 1} ${this.#items.length}`;
      if (row.place === place) continue;
      row.place = place;
      row.element.setAttribute('aria-posinset', row.index + 1);
      row.element.setAttribute('aria-setsize', this.#items.length);
    }
  }

  /** Finishes the rows once nothing was drawn for a moment. */
  #finishSoon() {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.#finishSome(), PAUSE_MS);
  }

  #finishSome() {
    const until = performance.now() + FINISH_MS;
    for (const row of this.#unfinished.keys()) {
      this.#finishRow(row);
      if (performance.now() < until) continue;
      this.#pause = setTimeout(() => this.#finishSome());
      return;
    }
  }

  #finishRow(row) {
    const item = this.#unfinished.get(row);
    if (item === undefined) return;
    this.#unfinished.delete(row);
    this.finish(item, row);
  }
}
