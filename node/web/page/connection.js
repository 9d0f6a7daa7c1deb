// The WebSocket: sends the token and JSON lines, matches answers to requests, and connects again.

const FORBIDDEN = 4401;
const RETRY_MS = [300, 5000];

export class RequestError extends Error {
  constructor(error) {
    super(error.text);
    this.code = error.code;
  }
}

/** The connection is gone. It is unknown whether the node has carried out the request. */
export class LostError extends Error {}

export class Connection extends EventTarget {
  #token;
  #socket = null;
  #pending = new Map();
  #lastId = 0;
  #retryMs = RETRY_MS[0];
  #timer = null;
  admitted = false;

  constructor(token) {
    super();
    this.#token = token;
  }

  open() {
    clearTimeout(this.#timer);
    const socket = new WebSocket(`ws://${location.host}/ws`);
    this.#socket = socket;
    socket.addEventListener('open', () => socket.send(JSON.stringify({ token: this.#token })));
    socket.addEventListener('message', (message) => this.#read(JSON.parse(message.data)));
    socket.addEventListener('close', (closed) => this.#closed(closed.code));
  }

  /** Tries at once, for example when the page is shown again. */
  hurry() {
    if (!this.admitted && this.#timer !== null) this.open();
  }

  ask(cmd, fields = {}) {
    if (!this.admitted) return Promise.reject(new LostError());
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, cmd, ...fields }));
    });
  }

  /** An HTTP request with the token. */
  async fetch(path, options = {}) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    const response = await fetch(path, { ...options, headers });
    if (!response.ok) throw new RequestError(await response.json());
    return response;
  }

  /** Sends a file or more, and reports the sent part. XMLHttpRequest is the only way to learn it. */
  put(path, body, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open('PUT', path);
      request.setRequestHeader('Authorization', `Bearer ${this.#token}`);
      request.responseType = 'json';
      request.upload.addEventListener('progress', (event) => progress(event.loaded, event.total));
      request.addEventListener('load', () => {
        if (request.status === 200) resolve(request.response);
        else reject(new RequestError(request.response ?? { text: request.statusText }));
      });
      request.addEventListener('error', () => reject(new LostError('')));
      request.send(body);
    });
  }

  #read(line) {
    if (line.event) return this.#tell('line', line);
    if (line.id === null || line.id === undefined) {
      if (!line.ok?.rights) return;
      this.admitted = true;
      this.#retryMs = RETRY_MS[0];
      return this.#tell('admitted', line.ok);
    }
    const request = this.#pending.get(line.id);
    this.#pending.delete(line.id);
    if (line.error) request?.reject(new RequestError(line.error));
    else request?.resolve(line.ok);
  }

  #closed(code) {
    this.admitted = false;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(new LostError());
    if (code === FORBIDDEN) return this.#tell('forbidden');
    this.#tell('lost');
    this.#timer = setTimeout(() => this.open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS[1]);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
