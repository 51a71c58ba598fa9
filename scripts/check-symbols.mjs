// node scripts/check-symbols.mjs [file …]: checks binaries and object files of the addon (without names, whatever
// the builds left here): no symbol version above the floor, no code beyond the baseline outside its region.
import { existsSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import process from 'node:process';
import { addonPaths, at, filesUnder, main, root, ScriptError } from './lib/common.mjs';
import { checkBinary } from './lib/symbols.mjs';

await main((args) => {
  if (process.platform !== 'linux') {
    console.log('check-symbols: only for Linux binaries, skipped');
    return 0;
  }
  const isObject = (path) => path.endsWith('.o');
  const objects = [at('build', 'cmake', 'CMakeFiles'), at('build', 'Release', 'obj.target')];
  const files =
    args.length > 0
      ? args.map((path) => resolve(path))
      : [
          ...[addonPaths.cmake, addonPaths.gyp].filter((path) => existsSync(path)),
          ...objects.flatMap((folder) => filesUnder(folder, isObject)),
        ];
  if (files.length === 0) throw new ScriptError('there is no build to check: run npm run build');
  let problems = 0;
  for (const file of files) {
    for (const problem of checkBinary(file)) {
      console.error(`${relative(root, file)}: ${problem}`);
      problems++;
    }
  }
  console.log(`check-symbols: ${files.length} files, ${problems} problems`);
  return problems === 0 ? 0 : 1;
});
