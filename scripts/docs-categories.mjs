// A plugin of TypeDoc: puts what is exported into categories, by the file it is from and, for operations, by name, so that
// no docstring has to repeat where its function lives.
import { CommentTag, Converter, ReflectionKind } from 'typedoc';

/** Operations by category; those that are not named here are elementwise ones. */
const operations = {
  'Comparisons and masks':
    'eq ne lt le gt ge isNan isFinite isInf logicalAnd logicalOr logicalNot equal allClose where maskedFill',
  Reductions:
    'sum mean prod max min argmax argmin variance var std norm logSumExp any all cumsum softmax logSoftmax',
  Products: 'matmul dot outer linear',
  'Shapes and parts':
    'reshape flatten squeeze unsqueeze transpose permute T broadcastTo slice narrow select gather indexSelect split ' +
    'chunk flip concat stack tril triu diag oneHot',
  Activations: 'relu leakyRelu elu sigmoid logSigmoid tanh gelu silu softplus',
};
const byName = new Map(
  Object.entries(operations).flatMap(([category, names]) => names.split(' ').map((name) => [name, category])),
);

/** The category of everything else, by the beginning of its path. */
const byPath = [
  ['src/tensor/compile', 'Steps and memory'],
  ['src/tensor/scope', 'Steps and memory'],
  ['src/tensor/', 'Tensors'],
  ['src/dtype', 'Tensors'],
  ['src/program/view', 'Tensors'],
  ['src/program/generator', 'Random numbers'],
  ['src/autograd/', 'Differentiation'],
  ['src/backend/', 'Backend'],
  ['src/errors', 'Errors'],
  ['src/linalg', 'Linear algebra'],
  ['src/ops/primitive', 'Tensors'],
  ['src/ops/', 'Elementwise operations'],
  ['src/nn/module', 'Modules'],
  ['src/nn/containers', 'Containers'],
  ['src/nn/activations', 'Activations'],
  ['src/nn/normalization', 'Normalization'],
  ['src/nn/losses', 'Losses'],
  ['src/nn/', 'Layers'],
  ['src/losses/', 'Losses'],
  ['src/optim/schedules', 'Schedules'],
  ['src/optim/optimizer', 'For optimizers of your own'],
  ['src/optim/', 'Optimizers'],
  ['src/init/', 'Initializers'],
  ['src/data/', 'Data'],
  ['src/io/', 'Files'],
  ['src/analysis/', 'Analysis'],
];

/** Kinds of members of a class: methods by the operation that they are, the rest as they come. */
const members = ReflectionKind.Method | ReflectionKind.Property | ReflectionKind.Accessor;
const exported =
  ReflectionKind.Function |
  ReflectionKind.Variable |
  ReflectionKind.Class |
  ReflectionKind.Interface |
  ReflectionKind.TypeAlias;

function categoryOf(reflection) {
  if (reflection.kindOf(ReflectionKind.Namespace)) return 'Namespaces';
  if (reflection.kindOf(members)) {
    if (reflection.parent?.name !== 'Tensor') return null;
    if (reflection.name.endsWith('_')) return 'In place';
    const known = byName.get(reflection.name);
    if (known) return known;
    return reflection.signatures?.some((s) => s.comment?.summary.some((part) => part.tag === '@link'))
      ? 'Elementwise operations'
      : 'Tensor';
  }
  if (!reflection.kindOf(exported)) return null;
  const path = reflection.project.getSymbolIdFromReflection(reflection)?.packagePath ?? '';
  if (path.startsWith('src/ops/') && byName.has(reflection.name)) return byName.get(reflection.name);
  return byPath.find(([start]) => path.startsWith(start))?.[1] ?? null;
}

function categorize(reflection, category) {
  // The comment of a function is that of its signatures, that of an accessor that of its halves.
  const callable = reflection.kindOf(ReflectionKind.FunctionOrMethod);
  const holders = callable
    ? reflection.signatures
    : [reflection.getSignature ?? reflection.setSignature ?? reflection];
  for (const holder of holders) {
    // What has no docstring stays without one, and is an error.
    holder.comment?.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: category }]));
  }
}

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, (context) => {
    for (const reflection of Object.values(context.project.reflections)) {
      const category = categoryOf(reflection);
      if (category !== null) categorize(reflection, category);
    }
  });
}
