import { existsSync } from 'node:fs';

// npm run docs: the reference, from the docstrings of everything that is exported.

/** @type {Partial<import('typedoc').TypeDocOptions>} */
export default {
  name: 'simdgrad',
  entryPoints: ['src/index.ts', 'src/analysis/index.ts'].filter((path) =>
    existsSync(new URL(path, import.meta.url)),
  ),
  tsconfig: 'tsconfig.build.json',
  out: 'docs/api',
  readme: 'README.md',
  plugin: ['./scripts/docs-categories.mjs'],
  defaultCategory: 'Other',
  categoryOrder: ['Namespaces', 'Tensors', 'Tensor', 'In place', 'Elementwise operations', 'Activations', '*'],
  categorizeByGroup: false,
  navigation: { includeCategories: true, includeGroups: false },
  sort: ['kind', 'alphabetical'],
  includeVersion: true,
  disableSources: true,
  excludeExternals: true,
  excludePrivate: true,
  excludeInternal: true,
  hideGenerator: true,
  // Types of which a reader needs no more than what the docstring says.
  intentionallyNotExported: ['Param', 'nonlinearities', 'squaredReductions', 'named'],
  validation: {
    notExported: true,
    invalidLink: true,
    invalidPath: true,
    rewrittenLink: true,
    notDocumented: true,
    unusedMergeModuleWith: true,
  },
  requiredToBeDocumented: [
    'Module',
    'Namespace',
    'Enum',
    'EnumMember',
    'Variable',
    'Function',
    'Class',
    'Interface',
    'Property',
    'Method',
    'Accessor',
    'TypeAlias',
  ],
  treatValidationWarningsAsErrors: true,
};
