/** RFC 9162's tree over leaf hashes. */

import { createHash } from "node:crypto";

export function sha256(...parts: Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

const LEAF = Buffer.from([0]);
const NODE = Buffer.from([1]);

export function leafHash(entry: Uint8Array): Buffer {
  return sha256(LEAF, entry);
}

/** Returns the largest power of two below `count`. */
function split(count: number): number {
  return 2 ** Math.floor(Math.log2(count - 1));
}

export class Tree {
  private readonly leaves: Buffer[] = [];
  private readonly complete = new Map<string, Buffer>();

  get size(): number {
    return this.leaves.length;
  }

  get root(): Buffer {
    return this.hash(0, this.size);
  }

  append(leaf: Buffer): void {
    this.leaves.push(leaf);
  }

  /** Returns the inclusion path of a leaf, the nearest sibling first. */
  path(index: number, first = 0, end = this.size): Buffer[] {
    if (end - first === 1) return [];
    const middle = first + split(end - first);
    return index < middle
      ? [...this.path(index, first, middle), this.hash(middle, end)]
      : [...this.path(index, middle, end), this.hash(first, middle)];
  }

  private hash(first: number, end: number): Buffer {
    const count = end - first;
    if (count === 1) return this.leaves[first]!;
    const key = `${first} ${end}`;
    const known = this.complete.get(key);
    if (known !== undefined) return known;
    const middle = first + split(count);
    const node = sha256(NODE, this.hash(first, middle), this.hash(middle, end));
    if ((count & (count - 1)) === 0) this.complete.set(key, node);
    return node;
  }
}

/** Returns the root that a leaf and its inclusion path give; nothing if the path has another length. */
export function rootOf(leaf: Buffer, index: number, size: number, path: Buffer[]): Buffer | undefined {
  if (size === 1) return path.length === 0 ? leaf : undefined;
  const sibling = path.at(-1);
  if (sibling === undefined) return undefined;
  const middle = split(size);
  const inLeft = index < middle;
  const below = inLeft ? rootOf(leaf, index, middle, path.slice(0, -1)) : rootOf(leaf, index - middle, size - middle, path.slice(0, -1));
  return below && (inLeft ? sha256(NODE, below, sibling) : sha256(NODE, sibling, below));
}
