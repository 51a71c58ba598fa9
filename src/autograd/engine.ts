import { isFloat } from '../dtype.js';
import { GradError, ShapeError } from '../errors.js';
import { add } from '../ops/add.js';
import { installApply, nonDifferentiable, type Primitive } from '../ops/primitive.js';
import { cloneOf } from '../ops/to.js';
import { enterOp, leaveOp, logAllocations, observe, tracing } from '../program/emit.js';
import { release, type Storage } from '../program/storage.js';
import { maxRank, sameShape, showShape } from '../program/view.js';
import { Tensor } from '../tensor/tensor.js';
import { Node } from './graph.js';
import { enableGrad, isGradEnabled, noGrad } from './mode.js';

/** The one way by which operations reach tensors: computes, and records where a gradient may be wanted. */
function apply<A>(op: Primitive<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  const out = op.infer(inputs, attrs);
  if (out.shape.length > maxRank) {
    throw new ShapeError(
      `${op.name}: the result ${showShape(out.shape)} is above the highest rank, ${maxRank}`,
    );
  }
  const before = enterOp(op.name);
  let result: Tensor;
  try {
    const views = inputs.map((x) => x.view);
    result = new Tensor(op.run(views, out, attrs));
  } finally {
    leaveOp(before);
  }
  if (isGradEnabled() && op.vjp !== nonDifferentiable && isFloat(out.dtype)) {
    let wanted = false;
    for (const x of inputs) {
      if (x.node === null && tracing() !== null) observe(() => x.requiresGrad, x);
      if (x.requiresGrad) wanted = true;
    }
    if (wanted) result.node = new Node(op as Primitive<unknown>, inputs, attrs, result);
  }
  return result;
}

installApply(apply);

export interface PassOptions {
  readonly createGraph: boolean;
  readonly retainGraph: boolean;
}

/** Nodes that `roots` depend on. */
function reachable(roots: readonly Tensor[]): Node[] {
  const seen = new Set<Node>();
  const stack = roots.flatMap((t) => (t.node ? [t.node] : []));
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    for (const e of node.edges) if (e instanceof Node && !seen.has(e)) stack.push(e);
  }
  return [...seen];
}

/**
 * Keeps count of which gradients of a pass are still to be used, so that the memory of all others goes back to the
 * pool at once. Only memory that was allocated during the pass, and that no graph can refer to, is ever given back.
 */
class Workspace {
  readonly #owned = new Set<Storage>();
  readonly #pins = new Map<Storage, number>();
  readonly #log: Storage[] = [];

  run<T>(fn: () => T): T {
    const before = logAllocations(this.#log);
    try {
      return fn();
    } finally {
      logAllocations(before);
      for (const s of this.#log) this.#owned.add(s);
      this.#log.length = 0;
    }
  }

  pin(t: Tensor): Tensor {
    const s = t.view.storage;
    this.#pins.set(s, (this.#pins.get(s) ?? 0) + 1);
    return t;
  }

  unpin(t: Tensor): void {
    const s = t.view.storage;
    this.#pins.set(s, (this.#pins.get(s) ?? 1) - 1);
  }

  owns(t: Tensor): boolean {
    return this.#owned.has(t.view.storage) && (this.#pins.get(t.view.storage) ?? 0) <= 1;
  }

  sweep(): void {
    for (const s of this.#owned) {
      if ((this.#pins.get(s) ?? 0) > 0) continue;
      release(s);
      this.#owned.delete(s);
      this.#pins.delete(s);
    }
  }
}

/**
 * Propagates gradients from `roots` back to `targets` (all leaves where there are none given). Returns the gradient of
 * each target that was reached. Formula: reverse accumulation, in descending order of creation.
 */
export function backwardPass(
  roots: readonly Tensor[],
  rootGrads: readonly Tensor[],
  targets: ReadonlySet<Tensor> | null,
  { createGraph, retainGraph }: PassOptions,
): Map<Tensor, Tensor> {
  const order = reachable(roots).sort((a, b) => a.id - b.id);
  const targetNodes = new Map<Node, Tensor>();
  if (targets) for (const t of targets) if (t.node) targetNodes.set(t.node, t);

  // Ascending: a node is needed if anything behind it is wanted.
  const needed = new Set<Node>();
  for (const node of order) {
    node.needs = node.edges.map((e) => {
      if (e === null) return false;
      if (e instanceof Node) return needed.has(e) || targetNodes.has(e);
      return targets === null || targets.has(e);
    });
    if (node.needs.includes(true)) needed.add(node);
  }

  const space = new Workspace();
  const results = new Map<Tensor, Tensor>();
  const pending = new Map<Node, Tensor>();
  const recycle = !createGraph && tracing() === null;
  const inMode = createGraph ? enableGrad : noGrad;

  const deliver = (e: Node | Tensor, g: Tensor): void => {
    if (e instanceof Node) {
      const held = pending.get(e);
      if (held) space.unpin(held);
      pending.set(e, space.pin(held ? add(held, g) : g));
    } else {
      const held = results.get(e);
      if (held) space.unpin(held);
      results.set(e, space.pin(held ? add(held, g) : g));
    }
  };

  inMode(() => {
    space.run(() => {
      roots.forEach((t, i) => {
        const g = rootGrads[i] as Tensor;
        if (t.node) deliver(t.node, g);
        else if (t.requiresGrad && (targets === null || targets.has(t))) deliver(t, g);
      });
    });
    for (let i = order.length - 1; i >= 0; i--) {
      const node = order[i] as Node;
      const g = pending.get(node);
      if (!g) continue;
      pending.delete(node);
      const target = targetNodes.get(node);
      if (target) results.set(target, space.pin(g));
      if (node.retained) {
        const held = node.retained.gradCell.get() as Tensor | null;
        node.retained.gradCell.set(space.pin(held ? add(held, g) : createGraph ? g : cloneOf(g)));
      }
      if (needed.has(node)) {
        space.run(() => {
          const grads = node.vjp(g);
          node.edges.forEach((e, j) => {
            const ge = grads[j];
            if (e === null || !node.needs[j] || !ge) return;
            checkGrad(node, j, ge);
            deliver(e, ge);
          });
        });
        if (!retainGraph) node.free();
      }
      space.unpin(g);
      if (recycle) space.sweep();
    }
  });
  // What is handed out must be nobody else's memory: not a broadcast view, not shared by two results.
  for (const [t, g] of results) {
    if (!createGraph && !(g.view.whole && space.owns(g)))
      results.set(
        t,
        noGrad(() => cloneOf(g)),
      );
  }
  return results;
}

function checkGrad(node: Node, i: number, g: Tensor): void {
  const spec = node.specs[i];
  if (spec && (!sameShape(spec.shape, g.shape) || spec.dtype !== g.dtype)) {
    throw new GradError(
      `backward: the derivative of ${node.op.name} gave ${g.dtype} ${showShape(g.shape)} for input ${i}, ` +
        `which is ${spec.dtype} ${showShape(spec.shape)}`,
    );
  }
}

/** The gradient that backward starts with: given, or 1 for a scalar. */
export function seedGradient(name: string, t: Tensor, gradient: Tensor | null | undefined): Tensor {
  if (!t.requiresGrad) {
    throw new GradError(
      `${name}: this tensor does not depend on anything that requires a gradient` +
        (isGradEnabled()
          ? '; set requiresGrad on what it was computed from'
          : '; it was computed under noGrad'),
    );
  }
  if (gradient) {
    if (!sameShape(gradient.shape, t.shape)) {
      throw new ShapeError(
        `${name}: the gradient has shape ${showShape(gradient.shape)}, the tensor ${showShape(t.shape)}`,
      );
    }
    return gradient.to(t.dtype);
  }
  if (t.size !== 1) {
    throw new GradError(
      `${name}: a tensor of shape ${showShape(t.shape)} is not a scalar; reduce it (sum, mean) or pass a gradient`,
    );
  }
  return Tensor.full(t.shape, 1, t.dtype);
}

/** Adds a gradient to what a leaf holds already, in place where no graph refers to it. */
export function accumulate(t: Tensor, g: Tensor, createGraph: boolean): void {
  const held = t.peekGrad();
  if (held === null) {
    g.view.storage.kept = true;
    // Until somebody reads `grad`, nobody but this leaf has it.
    g.view.storage.unseen = !createGraph;
    t.gradCell.set(createGraph ? g : g.node ? g.detach() : g);
  } else if (createGraph || held.node !== null) {
    const sum = add(held, g);
    sum.view.storage.kept = true;
    t.gradCell.set(sum);
  } else {
    noGrad(() => held.add_(g));
  }
}

/** Tensor.prototype.backward. */
export function backward(
  t: Tensor,
  gradient: Tensor | null | undefined,
  { createGraph = false, retainGraph = createGraph }: { createGraph?: boolean; retainGraph?: boolean } = {},
): void {
  const seed = seedGradient('backward', t, gradient);
  const grads = backwardPass([t], [seed], null, { createGraph, retainGraph });
  for (const [leaf, g] of grads) accumulate(leaf, g, createGraph);
}
