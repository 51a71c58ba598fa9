// simdgrad as a peer of npm run bench:peers, in a process of its own like the others.
//
//   node ours.js api     the public API: products, compiled and eager steps, predictions, optimizers, single operations
//   node ours.js js      the same on the JS backend
//   node ours.js addon   products by the addon's own call, without any of the TypeScript above it
import { createRequire } from 'node:module';
import process from 'node:process';
import { backendInfo, setBackend } from 'simdgrad';
import { forwardPass, optimizerStep, type optimizerWords, product, trainingStep } from './cases.js';
import { operationCall } from './operations.js';
import { serve, sizesOf } from './peers/serve.mjs';

type Make = (
  kind: string,
  args: string[],
  variant: string,
) => (() => void) | { run: () => void; answer: string };

const throughApi: Make = (kind, args, variant) => {
  const [first = '', second = ''] = args;
  switch (kind) {
    case 'product': {
      const [m, n, k] = args.map(Number) as [number, number, number];
      return product(m, n, k, args[3] ?? 'NN');
    }
    case 'step':
      return trainingStep(sizesOf(first), Number(second), variant === 'compiled');
    case 'forward':
      return forwardPass(sizesOf(first), Number(second));
    case 'optimizer':
      return optimizerStep(first as keyof typeof optimizerWords, Number(second));
    case 'operation':
      return operationCall(first, second === 'backward', Number(args[2]), Number(args[3]));
    default:
      throw new Error(`there is no ${kind}`);
  }
};

interface Addon {
  init(params: Float64Array): void;
  call(kernelId: number, nParams: number, ...buffers: Float32Array[]): void;
  kernels(): { readonly name: string }[];
}

/** The layout of params is that of native/kernels.def, row matmul. */
function throughAddon(path: string): Make {
  const addon = createRequire(import.meta.url)(path) as Addon;
  const block = new Float64Array(new SharedArrayBuffer(256 * 8));
  addon.init(block);
  const id = addon.kernels().findIndex(({ name }) => name === 'matmul');
  const filled = (n: number) => Float32Array.from({ length: n }, (_, i) => ((i * 7919) % 1000) / 1000 - 0.5);
  return (kind, args) => {
    if (kind !== 'product') throw new Error(`only products go to the addon directly, not ${kind}`);
    const [m, n, k] = args.map(Number) as [number, number, number];
    const [at, bt] = [args[3]?.[0] === 'T', args[3]?.[1] === 'T'];
    const a = filled(m * k);
    const b = filled(k * n);
    const c = new Float32Array(m * n);
    const params = [0, m, n, k, 0, n, 0, at ? 1 : k, at ? m : 1, 0, bt ? 1 : n, bt ? k : 1, -1, 0];
    return () => {
      block.set(params);
      addon.call(id, params.length, c, a, b, c);
    };
  };
}

await serve(async () => {
  if (process.argv[2] === 'js') {
    setBackend('js');
    return { version: 'JavaScript', make: throughApi };
  }
  const info = backendInfo();
  if (info.backend !== 'native' || info.addon === null) {
    throw new Error(`no addon is loaded: ${info.reason}`);
  }
  const make = process.argv[2] === 'addon' ? throughAddon(info.addon) : throughApi;
  return { version: info.isa ?? '', make };
});
