// A peer of npm run bench:peers: TensorFlow.js on WebAssembly. Usage: node tfjs.mjs THREADS
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { serve, sizesOf } from './serve.mjs';

await serve(async () => {
  const require = createRequire(import.meta.url);
  const tf = require('@tensorflow/tfjs');
  const wasm = require('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')), '/'));
  wasm.setThreadsCount(Number(process.argv[2] ?? 1));
  if (!(await tf.setBackend('wasm'))) throw new Error('the WebAssembly backend does not start');
  await tf.ready();

  const make = (kind, [sizeList, batchText]) => {
    const sizes = sizesOf(sizeList);
    const batch = Number(batchText);
    const layers = sizes.slice(1).map((n, i) => ({
      w: tf.variable(tf.randomNormal([sizes[i], n], 0, 1 / Math.sqrt(sizes[i]))),
      b: tf.variable(tf.zeros([n])),
    }));
    const x = tf.randomNormal([batch, sizes[0]]);
    const predict = () =>
      layers.reduce((h, { w, b }, i) => {
        const y = tf.add(tf.matMul(h, w), b);
        return i + 1 < layers.length ? tf.relu(y) : y;
      }, x);
    // Kernels run at once; reading one value is what a program that waits for a result would do.
    if (kind === 'forward') return () => tf.tidy(() => void predict().dataSync());
    if (kind !== 'step') throw new Error(`there is no ${kind}`);
    const classes = sizes[sizes.length - 1];
    const labels = tf.tensor1d(
      Int32Array.from({ length: batch }, (_, i) => (i * 7) % classes),
      'int32',
    );
    const oneHot = tf.cast(tf.oneHot(labels, classes), 'float32');
    const optimizer = tf.train.adam(1e-3);
    const loss = () => tf.losses.softmaxCrossEntropy(oneHot, predict());
    return () => tf.tidy(() => void optimizer.minimize(loss, true).dataSync());
  };
  return { version: tf.version_core, make };
});
