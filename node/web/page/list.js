// A virtual list: only the rows near the visible part are in the document. Rows have any height: it is
// estimated until a row was shown, and measured then.

const ESTIMATE = 52;
const BEYOND = 600;
const NEAR_END = 40;

export class VirtualList {
  #items = [];
  #heights = [];
  #tops = new Float64Array(1);
  /** So many of the tops after the first are right. */
  #exact = 0;
  #rows = new Map();
  #measured = new Map();
  #frame = 0;
  #atEnd = true;
  #width = 0;

  /** `key(item)` identifies an item, `render(item)` makes its row, `older()` is called near the top. */
  constructor(scroller, { key, render, older, ended }) {
    Object.assign(this, { scroller, key, render, older, ended });
    this.body = scroller.appendChild(document.createElement('div'));
    this.body.className = 'rows';
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
    this.#items = items;
    this.#heights = items.map((item) => this.#measured.get(this.key(item)) ?? ESTIMATE);
    this.#exact = 0;
    if (!stay) this.#atEnd = true;
    this.#draw(anchor);
  }

  /** Draws the row of an item again. */
  refresh(key) {
    const row = this.#rows.get(key);
    if (!row) return this.#measured.delete(key);
    const focused = this.#focused(row.element);
    row.element.remove();
    this.#rows.delete(key);
    this.#measured.delete(key);
    this.#draw();
    if (focused) this.#rows.get(key)?.element.focus({ preventScroll: true });
  }

  refreshAll() {
    for (const key of [...this.#rows.keys()]) this.refresh(key);
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
    if (this.#tops.length !== this.#items.length + 1) {
      this.#tops = new Float64Array(this.#items.length + 1);
      this.#exact = 0;
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

  #draw(anchor = this.#atEnd ? null : this.#anchor()) {
    const { scroller } = this;
    if (scroller.clientHeight === 0) return;
    for (let round = 0; round < 4; round += 1) {
      this.#resize();
      this.#settle(anchor);
      if (!this.#fill()) break;
    }
    this.#resize();
    this.#settle(anchor);
    this.#place();
    if (scroller.scrollTop < BEYOND) this.older();
  }

  #resize() {
    this.body.style.height = `${this.#top(this.#items.length)}px`;
  }

  #settle(anchor) {
    const { scroller } = this;
    let top = scroller.scrollTop;
    if (this.#atEnd) top = scroller.scrollHeight - scroller.clientHeight;
    else if (anchor) {
      const same = this.#items[anchor.index];
      const index = same && this.key(same) === anchor.key ? anchor.index : this.#index(anchor.key);
      if (index >= 0) top = this.#top(index) + anchor.offset;
    }
    if (Math.abs(scroller.scrollTop - top) >= 1) scroller.scrollTop = top;
  }

  /** Draws the rows near the visible part, and measures those that were not yet. True if a height has changed. */
  #fill() {
    const from = this.#items.length ? this.#at(this.scroller.scrollTop - BEYOND) : 0;
    const end = this.scroller.scrollTop + this.scroller.clientHeight + BEYOND;
    const needed = new Set();
    for (let index = from; index < this.#items.length && this.#top(index) < end; index += 1) {
      const key = this.key(this.#items[index]);
      needed.add(key);
      if (!this.#rows.has(key)) {
        const element = this.render(this.#items[index]);
        this.#rows.set(key, { element, index });
      }
      this.#rows.get(key).index = index;
    }
    for (const [key, row] of this.#rows) {
      if (needed.has(key)) continue;
      row.index = this.#focused(row.element) ? this.#index(key) : -1;
      if (row.index >= 0) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    this.#order();
    let changed = false;
    for (const [key, { element, index }] of this.#rows) {
      if (this.#measured.has(key)) continue;
      const height = element.offsetHeight;
      this.#measured.set(key, height);
      if (this.#heights[index] !== height) {
        this.#heights[index] = height;
        this.#exact = Math.min(this.#exact, index);
        changed = true;
      }
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
    for (const { element, index } of this.#rows.values()) {
      element.style.transform = `translateY(${this.#top(index)}px)`;
      element.setAttribute('aria-posinset', index + 1);
      element.setAttribute('aria-setsize', this.#items.length);
    }
  }
}
