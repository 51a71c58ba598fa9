import { isFloat } from '../dtype.js';
import { GradError, ShapeError } from '../errors.js';
import { add } from '../ops/add.js';
import { installApply, nonDifferentiable, type Primitive } from '../ops/primitive.js';
import { cloneOf } from '../ops/to.js';
import { enterOp, type Inspection, inspecting, leaveOp, logAllocations, tracing } from '../program/emit.js';
import { release, type Storage } from '../program/storage.js';
import { maxRank, sameShape, showShape, type View } from '../program/view.js';
import { Tensor } from '../tensor/tensor.js';
import { type Edge, Node } from './graph.js';
import { isGradEnabled, noGrad, setGradEnabled } from './mode.js';

/** What kernels see of the operands. Spelt out for few: that costs less than a loop. */
function viewsOf(inputs: readonly Tensor[]): View[] {
  if (inputs.length === 2) return [(inputs[0] as Tensor).view, (inputs[1] as Tensor).view];
  if (inputs.length === 1) return [(inputs[0] as Tensor).view];
  return inputs.map((x) => x.view);
}

/** The one way by which operations reach tensors: computes, and records where a gradient may be wanted. */
function apply<A>(op: Primitive<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  const views = viewsOf(inputs);
  const out = op.infer(views, attrs);
  if (out.shape.length > maxRank) {
    throw new ShapeError(
      `${op.name}: the result ${showShape(out.shape)} is above the highest rank, ${maxRank}`,
    );
  }
  const inspection = inspecting();
  const before = enterOp(op.name);
  let result: Tensor;
  try {
    result = new Tensor(
      inspection === null ? op.run(views, out, attrs) : inspection.operation(op, views, out, attrs),
    );
  } finally {
    leaveOp(before);
  }
  if (isGradEnabled() && op.vjp !== nonDifferentiable && isFloat(out.dtype)) {
    for (let i = 0; i < inputs.length; i++) {
      if (!(inputs[i] as Tensor).requiresGrad) continue;
      result.node = new Node(op as Primitive<unknown>, inputs, attrs, result);
      if (inspection !== null) inspection.recorded(result.node);
      break;
    }
  }
  return result;
}

installApply(apply);

export interface PassOptions {
  readonly createGraph: boolean;
  readonly retainGraph: boolean;
}

let passes = 0;

/** Nodes that `roots` depend on, marked with the number of the pass, in order of creation. */
function reachable(roots: readonly Tensor[], pass: number): Node[] {
  const found: Node[] = [];
  const mark = (node: Node): void => {
    node.pass = pass;
    node.pending = null;
    node.needed = false;
    found.push(node);
  };
  for (const { node } of roots) if (node !== null && node.pass !== pass) mark(node);
  // What is found goes to the end of the list that is being gone through.
  for (let i = 0; i < found.length; i++) {
    const { edges } = found[i] as Node;
    for (let j = 0; j < edges.length; j++) {
      const e = edges[j] as Edge;
      if (e instanceof Node && e.pass !== pass) mark(e);
    }
  }
  return sortById(found);
}

/** Lists that are short are sorted in place, without the copy that sort() works on. */
function sortById(nodes: Node[]): Node[] {
  if (nodes.length > 64) return nodes.sort(byId);
  for (let i = 1; i < nodes.length; i++) {
    const node = nodes[i] as Node;
    let j = i;
    for (; j > 0 && (nodes[j - 1] as Node).id > node.id; j--) nodes[j] = nodes[j - 1] as Node;
    nodes[j] = node;
  }
  return nodes;
}

function byId(a: Node, b: Node): number {
  return a.id - b.id;
}

/**
 * Keeps count of which gradients of a pass are still to be used, so that the memory of all others goes back to the
 * pool at once. Only memory that was allocated during the pass, and that no graph can refer to, is ever given back.
 */
class Workspace {
  /** What was allocated since settle() was last called. */
  readonly log: Storage[] = [];
  /** What nobody has pinned any more. */
  readonly #loose: Storage[] = [];

  pin(t: Tensor): Tensor {
    t.view.storage.pins++;
    return t;
  }

  unpin(t: Tensor): void {
    const s = t.view.storage;
    if (--s.pins === 0) this.#loose.push(s);
  }

  owns(t: Tensor): boolean {
    const s = t.view.storage;
    return s.pass === this && s.pins <= 1;
  }

  /** Takes over what was allocated, and gives back what is not pinned if asked to. */
  settle(recycle: boolean): void {
    const { log } = this;
    const loose = this.#loose;
    for (let i = 0; i < log.length; i++) {
      const s = log[i] as Storage;
      s.pass = this;
      if (recycle && s.pins === 0) release(s);
    }
    for (let i = 0; recycle && i < loose.length; i++) {
      const s = loose[i] as Storage;
      if (s.pass === this && s.pins === 0) release(s);
    }
    log.length = 0;
    loose.length = 0;
  }
}

/** One propagation of gradients. */
class Pass {
  readonly #space = new Workspace();
  readonly #results = new Map<Tensor, Tensor>();
  readonly #inspection: Inspection | null = inspecting();

  constructor(
    private readonly targets: ReadonlySet<Tensor> | null,
    private readonly options: PassOptions,
  ) {}

  run(roots: readonly Tensor[], rootGrads: readonly Tensor[]): Map<Tensor, Tensor> {
    const order = reachable(roots, ++passes);
    const targetNodes = this.#findNeeded(order);
    const space = this.#space;
    const recycle = !this.options.createGraph && tracing() === null;
    const log = logAllocations(space.log);
    const mode = setGradEnabled(this.options.createGraph);
    try {
      for (let i = 0; i < roots.length; i++) {
        const t = roots[i] as Tensor;
        if (t.node !== null) this.#deliver(t.node, rootGrads[i] as Tensor);
        else if (t.requiresGrad && (this.targets === null || this.targets.has(t)))
          this.#deliver(t, rootGrads[i] as Tensor);
      }
      space.settle(false);
      for (let i = order.length - 1; i >= 0; i--) {
        const node = order[i] as Node;
        const g = node.pending;
        if (g === null) continue;
        node.pending = null;
        const target = targetNodes?.get(node);
        if (target !== undefined) this.#results.set(target, space.pin(g));
        if (node.retained !== null) {
          logAllocations(log);
          this.#retain(node.retained, g);
          logAllocations(space.log);
        }
        if (node.needed) {
          this.#visit(node, g);
          if (!this.options.retainGraph) node.free();
        }
        space.unpin(g);
        space.settle(recycle);
      }
    } finally {
      setGradEnabled(mode);
      logAllocations(log);
      for (const node of order) node.pending = null;
    }
    if (!this.options.createGraph) this.#separate();
    return this.#results;
  }

  /** A node is needed if anything behind it is wanted. Returns the targets that are results of nodes. */
  #findNeeded(order: readonly Node[]): Map<Node, Tensor> | null {
    const { targets } = this;
    let targetNodes: Map<Node, Tensor> | null = null;
    if (targets !== null) {
      targetNodes = new Map();
      for (const t of targets) if (t.node !== null) targetNodes.set(t.node, t);
    }
    for (const node of order) {
      const { edges, needs } = node;
      for (let j = 0; j < edges.length; j++) {
        const e = edges[j] as Edge;
        if (e === null) needs[j] = false;
        else if (e instanceof Node) needs[j] = e.needed || targetNodes?.has(e) === true;
        else needs[j] = targets === null || targets.has(e);
        if (needs[j] === true) node.needed = true;
      }
    }
    return targetNodes;
  }

  #deliver(e: Node | Tensor, g: Tensor): void {
    const space = this.#space;
    const held = e instanceof Node ? e.pending : (this.#results.get(e) ?? null);
    if (held !== null) space.unpin(held);
    const sum = space.pin(held === null ? g : this.#sum(e, held, g));
    if (e instanceof Node) e.pending = sum;
    else this.#results.set(e, sum);
  }

  #sum(e: Node | Tensor, a: Tensor, b: Tensor): Tensor {
    return this.#inspection === null ? add(a, b) : this.#inspection.sum(e, a, b);
  }

  #visit(node: Node, g: Tensor): void {
    const grads = this.#inspection === null ? node.vjp(g) : this.#inspection.derivative(node, g);
    const { edges, needs } = node;
    for (let j = 0; j < edges.length; j++) {
      const e = edges[j] as Edge;
      const ge = grads[j];
      if (e === null || needs[j] !== true || !ge) continue;
      checkGrad(node, j, ge);
      this.#deliver(e, ge);
    }
  }

  #retain(t: Tensor, g: Tensor): void {
    const held = t.gradCell.get() as Tensor | null;
    const grad = this.#space.pin(held ? add(held, g) : this.options.createGraph ? g : cloneOf(g));
    // As a leaf's, it outlives the scope it was made in.
    grad.view.storage.kept = true;
    t.gradCell.set(grad);
  }

  /** What is handed out must be nobody else's memory: not a broadcast view, not shared by two results. */
  #separate(): void {
    this.#results.forEach((g, t, results) => {
      if (g.view.whole && this.#space.owns(g)) return;
      results.set(
        t,
        noGrad(() => cloneOf(g)),
      );
    });
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
  options: PassOptions,
): Map<Tensor, Tensor> {
  return new Pass(targets, options).run(roots, rootGrads);
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
  checkSeed(name, t, gradient);
  return gradient ? gradient.to(t.dtype) : Tensor.full(t.shape, 1, t.dtype);
}

/** Refuses a gradient that a pass from `t` cannot begin with: one of another shape, or none where t is no scalar. */
export function checkSeed(name: string, t: Tensor, gradient: Tensor | null | undefined): void {
  if (gradient) {
    if (!sameShape(gradient.shape, t.shape)) {
      throw new ShapeError(
        `${name}: the gradient has shape ${showShape(gradient.shape)}, the tensor ${showShape(t.shape)}`,
      );
    }
  } else if (t.size !== 1) {
    throw new GradError(
      `${name}: a tensor of shape ${showShape(t.shape)} is not a scalar; reduce it (sum, mean) or pass a gradient`,
    );
  }
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
  // All or none.
  for (const leaf of grads.keys()) {
    leaf.checkGradKept('backward');
    if (tracing() === null) leaf.gradCell.checkFree('backward');
  }
  grads.forEach((g, leaf) => {
    accumulate(leaf, g, createGraph);
  });
}
