// node scripts/pack-smoke.mjs: packs the package with its prebuilt addon, installs the tarball into an empty folder
// with install scripts ignored and no compiler in PATH, and trains a small network from ESM and through require(). The
// packages it needs at run time are packed from node_modules: nothing is fetched.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { at, main, npmCli, packageFile, printFailure, runNode, ScriptError, windows } from './lib/common.mjs';

const body = `
manualSeed(1);
const x = tensor([[0, 0], [0, 1], [1, 0], [1, 1]]);
const y = tensor([0, 1, 1, 0], { dtype: 'int32' });
const model = new nn.Sequential(new nn.Linear(2, 16), new nn.Tanh(), new nn.Linear(16, 2));
const optimizer = new optim.Adam(model.parameters(), { lr: 0.05 });
const step = compile((inputs, labels) => {
  optimizer.zeroGrad();
  const loss = F.crossEntropy(model.forward(inputs), labels);
  loss.backward();
  optimizer.step();
  return loss;
});
let loss = Infinity;
for (let i = 0; i < 200; i++) loss = step(x, y).item();
const right = model.forward(x).argmax(1).toArray().filter((label, i) => label === y.toArray()[i]).length;
const info = backendInfo();
if (info.backend !== process.env.EXPECTED_BACKEND) throw new Error('runs on ' + JSON.stringify(info));
if (!(loss < 0.1) || right !== 4) throw new Error('did not learn: loss ' + loss + ', ' + right + ' of 4 right');
// One step of Newton's method to the minimum (0, 1) of the toy regression, by the package for linear algebra.
const toy = (w) => tensor([[2, 2], [2, 0]], { dtype: 'float64' }).matmul(w).sub(tensor([2, 0], { dtype: 'float64' })).square().sum();
const [w0, w1] = newtonStep(toy, [3, 3]).point.toArray();
if (!(Math.hypot(w0, w1 - 1) < 1e-12)) throw new Error('Newton stepped to ' + w0 + ', ' + w1);
// The subpath shares the classes of the package.
let error;
try {
  newtonStep((w) => w.sum(), [1, 1]);
} catch (e) {
  error = e;
}
if (!(error instanceof LinAlgError)) throw new Error('not a LinAlgError of the package: ' + error);
console.log(info.backend + (info.isa ? ' ' + info.isa : '') + ', loss ' + loss.toFixed(4));
`;
const names = '{ backendInfo, compile, F, LinAlgError, manualSeed, nn, optim, tensor }';
const more = '{ newtonStep }';
const programs = {
  'train.mjs': `import ${names} from 'simdgrad';import ${more} from 'simdgrad/analysis';${body}`,
  'train.cjs': `const ${names} = require('simdgrad');const ${more} = require('simdgrad/analysis');${body}`,
};
// What a user's compiler makes of the declarations, with nothing skipped.
const typed = `import { compile, nn, F, optim, tensor, type Tensor } from 'simdgrad';
import { linearize, Recorder, type StepRecord } from 'simdgrad/analysis';
const model = new nn.Linear(2, 2);
export const features: Tensor = linearize(model).features(tensor([[1, 2]]));
export const history: readonly StepRecord[] = new Recorder(model).history;
const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
const step = compile((x: Tensor, y: Tensor): Tensor => {
  const loss = F.crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  return loss;
});
export const loss: number = step(tensor([[1, 2]]), tensor([0], { dtype: 'int32' })).item();
`;

async function check(what, promise) {
  const result = await promise;
  if (result.code !== 0) {
    printFailure(what, result);
    throw new ScriptError(`${what} failed`);
  }
  return result.output;
}

/** The folders of the packages that a package needs at run time, and that those need. */
function dependencies(folder, found = new Map()) {
  const { dependencies: wanted = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  for (const name of Object.keys(wanted)) {
    const paths = createRequire(join(folder, 'package.json')).resolve.paths(name);
    const path = paths
      .map((place) => join(place, name))
      .find((place) => existsSync(join(place, 'package.json')));
    if (path === undefined) throw new ScriptError(`${name} is not installed: run npm ci`);
    if (found.has(name) && found.get(name) !== path)
      throw new ScriptError(`there are two versions of ${name}`);
    if (found.has(name)) continue;
    found.set(name, path);
    dependencies(path, found);
  }
  return found;
}

await main(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'simdgrad-pack-'));
  try {
    await check('prebuild', runNode(at('scripts', 'prebuild.mjs'), [], { log: 'smoke-prebuild' }));
    const npm = npmCli();
    const packed = ['pack', '--silent', '--pack-destination', folder];
    const output = await check('npm pack', runNode(npm, packed, { log: 'smoke-pack' }));
    const tarball = output.trim().split('\n').at(-1);
    const needed = [...dependencies(at()).values()];
    const bundled = await check(
      'npm pack of the dependencies',
      runNode(npm, [...packed, '--ignore-scripts', ...needed], { log: 'smoke-pack-dependencies' }),
    );
    const tarballs = [tarball, ...bundled.trim().split('\n').slice(-needed.length)];

    // A machine with node and nothing else.
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    const env = { EXPECTED_BACKEND: 'native' };
    if (!windows) {
      symlinkSync(process.execPath, join(bin, 'node'));
      Object.assign(env, { PATH: bin, CC: '', CXX: '' });
    }
    const home = join(folder, 'app');
    mkdirSync(home);
    writeFileSync(join(home, 'package.json'), '{ "private": true }\n');
    const install = [
      'install',
      '--ignore-scripts',
      '--offline',
      '--no-audit',
      '--no-fund',
      ...tarballs.map((name) => join(folder, name)),
    ];
    const where = (log) => ({ cwd: home, env, log });
    await check('npm install', runNode(npm, install, where('smoke-install')));

    for (const [name, text] of Object.entries(programs)) {
      writeFileSync(join(home, name), text);
      const said = await check(name, runNode(join(home, name), [], where(`smoke-${name}`)));
      console.log(`pack-smoke: ${name}: ${said.trim()}`);
    }
    const js = { ...where('smoke-js'), env: { ...env, SIMDGRAD_BACKEND: 'js', EXPECTED_BACKEND: 'js' } };
    console.log(
      `pack-smoke: on JS: ${(await check('train.mjs on JS', runNode(join(home, 'train.mjs'), [], js))).trim()}`,
    );

    writeFileSync(join(home, 'typed.mts'), typed);
    mkdirSync(join(home, 'node_modules', '@types'));
    const nodeTypes = dirname(packageFile('@types/node', 'package.json'));
    symlinkSync(nodeTypes, join(home, 'node_modules', '@types', 'node'), 'junction');
    const options = [
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      'false',
      '--module',
      'nodenext',
      '--target',
      'es2023',
    ];
    const rest = ['--lib', 'es2023,esnext.disposable', '--types', 'node', 'typed.mts'];
    const tsc = runNode(packageFile('typescript', 'bin/tsc'), [...options, ...rest], where('smoke-types'));
    await check("the user's tsc", tsc);
    console.log(`pack-smoke: ${tarball} installs and trains`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
