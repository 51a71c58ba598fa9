// node scripts/pack-smoke.mjs: packs the package with its prebuilt addon, installs the tarball into an empty folder
// with install scripts ignored and no compiler in PATH, and trains a small network from ESM and through require().
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
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
console.log(info.backend + (info.isa ? ' ' + info.isa : '') + ', loss ' + loss.toFixed(4));
`;
const names = '{ backendInfo, compile, F, manualSeed, nn, optim, tensor }';
const programs = {
  'train.mjs': `import ${names} from 'simdgrad';${body}`,
  'train.cjs': `const ${names} = require('simdgrad');${body}`,
};
// What a user's compiler makes of the declarations, with nothing skipped.
const typed = `import { compile, nn, F, optim, tensor, type Tensor } from 'simdgrad';
const model = new nn.Linear(2, 2);
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

await main(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'simdgrad-pack-'));
  try {
    await check('prebuild', runNode(at('scripts', 'prebuild.mjs'), [], { log: 'smoke-prebuild' }));
    const npm = npmCli();
    const packed = ['pack', '--silent', '--pack-destination', folder];
    const output = await check('npm pack', runNode(npm, packed, { log: 'smoke-pack' }));
    const tarball = output.trim().split('\n').at(-1);

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
      join(folder, tarball),
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
    const more = ['--lib', 'es2023,esnext.disposable', '--types', 'node', 'typed.mts'];
    const tsc = runNode(packageFile('typescript', 'bin/tsc'), [...options, ...more], where('smoke-types'));
    await check("the user's tsc", tsc);
    console.log(`pack-smoke: ${tarball} installs and trains`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
