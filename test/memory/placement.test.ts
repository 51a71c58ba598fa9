import { F, nn, optim, randn, type Tensor, type TypedArray, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { backend } from '../../src/backend/load.js';
import { sharedMemory } from '../../src/program/storage.js';

describe('memory', () => {
  it('places large arrays at large pages, completes them where that takes little, others at pages or cache lines', () => {
    const large = backend().largePage;
    expect([0, 2 ** 16, 2 ** 20, 2 ** 21]).toContain(large);
    for (const bytes of [
      64,
      4096,
      2 ** 14,
      100_000,
      2 ** 20,
      1.5 * 2 ** 20,
      1.875 * 2 ** 20,
      2 ** 21,
      2.5 * 2 ** 20,
      2 ** 23 + 4,
    ]) {
      const { buffer, start, room } = sharedMemory(bytes);
      const memory = new Uint8Array(buffer, start, room);
      expect(memory.every((x) => x === 0)).toBe(true);
      expect(room).toBeGreaterThanOrEqual(bytes);
      expect(room).toBeLessThanOrEqual(Math.max(bytes * 1.25, bytes + 64));
      const pages = large > 0 && Math.ceil(bytes / large) * large <= bytes * 1.25;
      if (pages) expect(room % large).toBe(0);
      if (bytes < 256) continue;
      const alignment = pages || (large > 0 && bytes >= large) ? large : bytes >= 2 ** 14 ? 4096 : 64;
      expect(backend().alignedStart(memory, alignment)).toBe(0);
    }
  });

  it('places arrays that one loop goes through at a distance within their pages', () => {
    if (backend().name !== 'native') return; // nobody else knows addresses
    const toPage = (array: TypedArray) =>
      backend().alignedStart(new Uint8Array(array.buffer, array.byteOffset), 4096);
    for (let stream = 0; stream < 10; stream++) {
      const { buffer, start, room } = sharedMemory(100_000, stream);
      const memory = new Uint8Array(buffer, start, room);
      expect(memory.every((x) => x === 0)).toBe(true);
      expect(toPage(memory)).toBe((stream % 8) * 512);
    }
    class Probe extends optim.Adam {
      tensors(p: Tensor): Tensor[] {
        return [p, ...this.stateOf(p).tensors.values()];
      }
    }
    const p = nn.Parameter(randn([200, 100]));
    const optimizer = new Probe([p]);
    p.grad = randn([200, 100]);
    optimizer.step();
    const placesOf = (o: Probe) => o.tensors(p).map((t) => toPage(t.data as TypedArray));
    expect(placesOf(optimizer)).toEqual([0, 512, 1024]);
    const loaded = new Probe([p]);
    loaded.loadStateDict(optimizer.stateDict());
    expect(placesOf(loaded)).toEqual([0, 512, 1024]);
    expect([F.relu(p).data, tensor(new Float32Array(5000)).data].map((x) => toPage(x as TypedArray))).toEqual(
      [0, 0],
    );
  });
});
