// Profile pictures of people, or their initials in their colour. A picture is a file of a peer: the browser
// decodes it, if its peer is verified or the user wants to see everybody's.
import { el } from './dom.js';

const COLOURS = 12;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';
const PICTURES_MAX = 256;
const SIDES = [128, 96, 64];
const BYTES_MAX = 32768;
const TYPES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

export class Avatars {
  #urls = new Map();

  /** `shows(peer)`: whether the user wants to see the picture of a peer. `ready()` is called for each. */
  constructor(model, { shows, ready }) {
    Object.assign(this, { model, shows, ready });
  }

  /** The element for a peer. Its name is beside it, so screen readers skip it. */
  of(peer) {
    const { model } = this;
    const own = peer === model.me;
    const hash = own ? model.status?.picture : model.peers.get(peer)?.picture;
    const url = hash && (own || this.shows(peer)) ? this.#address(hash, own ? {} : { target: peer }) : null;
    const child = url ? el('img', { src: url, alt: '' }) : initials(model.name(peer));
    return el('span', { className: `avatar c${colour(peer)}`, 'aria-hidden': 'true' }, child);
  }

  /** The address of a picture. It is loaded the first time that somebody asks. */
  #address(hash, fields) {
    if (this.#urls.has(hash) || this.#urls.size >= PICTURES_MAX) return this.#urls.get(hash);
    this.#urls.set(hash, null);
    this.#load(hash, fields);
    return null;
  }

  async #load(hash, fields) {
    try {
      const { picture } = await this.model.connection.ask('picture', fields);
      if (picture?.hash !== hash || !TYPES.includes(picture.media)) return;
      const bytes = Uint8Array.from(atob(picture.bytes), (letter) => letter.charCodeAt(0));
      const image = new Image();
      image.src = URL.createObjectURL(new Blob([bytes], { type: picture.media }));
      await image.decode();
      this.#urls.set(hash, image.src);
      this.ready();
    } catch {
      // Initials are shown instead. After a new connection, the picture is asked for again.
      this.#urls.delete(hash);
    }
  }
}

/** A peer has the same colour on every screen: the first byte of its id decides. */
function colour(peer) {
  const [first, second] = [...peer.slice(0, 2)].map((letter) => Math.max(0, LETTERS.indexOf(letter)));
  return ((first << 3) | (second >> 2)) % COLOURS;
}

function initials(name) {
  const words = name.split(/[^\p{Alphabetic}\p{N}]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => Array.from(word)[0]).join('').toUpperCase() || '?';
}

/** Makes a profile picture of a file: small, and without what the file says about camera and place. */
export async function profilePicture(file) {
  const image = await createImageBitmap(file);
  for (const side of SIDES) {
    const part = Math.min(1, side / Math.max(image.width, image.height));
    const canvas = el('canvas', {
      width: Math.max(1, Math.round(image.width * part)), height: Math.max(1, Math.round(image.height * part)),
    });
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
    if (blob && blob.size <= BYTES_MAX) {
      const bytes = new Uint8Array(await blob.arrayBuffer());
      return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
    }
  }
  throw new Error('the picture is too large');
}
