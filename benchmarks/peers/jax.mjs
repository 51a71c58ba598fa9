// A peer of npm run bench:peers: jax-js, compiled with jit, on WebAssembly. In Node it has one thread. Every step is
// awaited: queued steps run several times slower.
import { serve, sizesOf } from './serve.mjs';

await serve(async () => {
  const jax = await import('@jax-js/jax');
  const { blockUntilReady, defaultDevice, init, jit, nn, numpy: np, random, valueAndGrad } = jax;
  await init('wasm');
  defaultDevice('wasm');
  const { createRequire } = await import('node:module');
  const { readFileSync } = await import('node:fs');
  const entry = createRequire(import.meta.url).resolve('@jax-js/jax');
  const { version } = JSON.parse(readFileSync(new URL('../package.json', `file://${entry}`), 'utf8'));

  let seed = 1;
  const normal = (shape, scale) => random.normal(random.key(seed++), shape).mul(scale);
  const parameters = (sizes) =>
    sizes.slice(1).map((n, i) => ({ w: normal([sizes[i], n], 1 / Math.sqrt(sizes[i])), b: np.zeros([n]) }));

  // Arrays are owned: passing one consumes it, `.ref` keeps it.
  const predict = (layers, x) =>
    layers.reduce((h, { w, b }, i) => {
      const y = np.dot(h, w).add(b);
      return i + 1 < layers.length ? nn.relu(y) : y;
    }, x);
  const crossEntropy = (layers, x, oneHot) =>
    nn
      .logSoftmax(predict(layers, x))
      .mul(oneHot)
      .sum()
      .mul(-1 / x.shape[0]);

  const adam = (p, g, m, v, c1, c2) => {
    const mNew = m.mul(0.9).add(g.ref.mul(0.1));
    const vNew = v.mul(0.999).add(g.ref.mul(g).mul(0.001));
    const d = mNew.ref.mul(c1).div(np.sqrt(vNew.ref.mul(c2)).add(1e-8));
    return [p.sub(d.mul(1e-3)), mNew, vNew];
  };
  const train = jit((layers, m, v, c1, c2, x, oneHot) => {
    const copy = layers.map(({ w, b }) => ({ w: w.ref, b: b.ref }));
    const [loss, grads] = valueAndGrad(crossEntropy)(copy, x, oneHot);
    const next = { layers: [], m: [], v: [] };
    layers.forEach(({ w, b }, i) => {
      const ws = adam(w, grads[i].w, m[i].w, v[i].w, c1.ref, c2.ref);
      const bs = adam(b, grads[i].b, m[i].b, v[i].b, c1.ref, c2.ref);
      ['layers', 'm', 'v'].forEach((name, j) => next[name].push({ w: ws[j], b: bs[j] }));
    });
    c1.dispose();
    c2.dispose();
    return [next.layers, next.m, next.v, loss];
  });

  const make = (kind, [sizeList, batchText]) => {
    const sizes = sizesOf(sizeList);
    const batch = Number(batchText);
    const x = normal([batch, sizes[0]], 1);
    let layers = parameters(sizes);
    if (kind === 'forward') {
      const run = jit(predict);
      return async () => {
        const y = run(
          layers.map(({ w, b }) => ({ w: w.ref, b: b.ref })),
          x.ref,
        );
        await blockUntilReady(y);
        y.dispose();
      };
    }
    if (kind !== 'step') throw new Error(`there is no ${kind}`);
    const classes = sizes[sizes.length - 1];
    const labels = np.array(Int32Array.from({ length: batch }, (_, i) => (i * 7) % classes));
    const oneHot = nn.oneHot(labels, classes);
    const zeros = () => layers.map(({ w, b }) => ({ w: np.zeros(w.shape), b: np.zeros(b.shape) }));
    let m = zeros();
    let v = zeros();
    let t = 0;
    return async () => {
      t++;
      const c1 = np.array(1 / (1 - 0.9 ** t));
      const c2 = np.array(1 / (1 - 0.999 ** t));
      let loss;
      [layers, m, v, loss] = train(layers, m, v, c1, c2, x.ref, oneHot.ref);
      await blockUntilReady([layers, m, v]);
      loss.dispose();
    };
  };
  return { version, make };
});
