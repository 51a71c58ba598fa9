"""Makes the golden numbers in this folder: what PyTorch and NumPy answer, as JSON.

    apt-get install python3-torch python3-numpy     # Debian 12: PyTorch 1.13, NumPy 1.24
    /usr/bin/python3 test/goldens/generate.py       # rewrites test/goldens/*.json

The files are data: no test runs this script. README.md describes their format.
"""

import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent
torch.set_num_threads(1)
# Python scalars and fresh state tensors (NAdam keeps one) must not round float64 runs to float32.
torch.set_default_dtype(torch.float64)

F32, F64, I32, BOOL = torch.float32, torch.float64, torch.int32, torch.bool
NAMES = {F32: 'float32', F64: 'float64', I32: 'int32', torch.int64: 'int32', BOOL: 'bool'}
DTYPES = {'float32': F32, 'float64': F64, 'int32': I32, 'bool': BOOL}
NAN, INF = math.nan, math.inf


# ---- writing ----


def number(x, single=False):
    """A JSON value that reads back as exactly x: shortest decimal; NaN and infinities as strings."""
    x = float(x)
    if math.isnan(x):
        return 'NaN'
    if math.isinf(x):
        return 'Infinity' if x > 0 else '-Infinity'
    if single:
        x = float(str(np.float32(x)))  # the shortest decimal that rounds to the same float32
    if x == int(x) and abs(x) < 1e15 and not (x == 0 and math.copysign(1, x) < 0):
        return int(x)
    return x


def encode(t, single=None):
    """A tensor as {shape, dtype, data}; `single` rounds a float64 tensor to float32."""
    t = t.detach().resolve_conj().resolve_neg()
    if t._is_zerotensor():  # a symbolic zero gradient has no storage to read
        t = torch.zeros(t.shape, dtype=t.dtype)
    dtype = NAMES[t.dtype]
    if single and dtype == 'float64':
        dtype = 'float32'
    flat = t.reshape(-1).tolist()
    if dtype in ('int32', 'bool'):
        data = [int(v) for v in flat]
    else:
        data = [number(v, dtype == 'float32') for v in flat]
    return {'shape': list(t.shape), 'dtype': dtype, 'data': data}


def plain(x, single=False):
    """Numbers inside nested lists and dicts, ready for JSON."""
    if isinstance(x, dict):
        return {k: plain(v, single) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v, single) for v in x]
    if isinstance(x, float):
        return number(x, single)
    return x


def write(name, cases, **header):
    """One case per line, so that a difference can be read."""
    lines = [f'  {json.dumps(k)}: {json.dumps(v)},' for k, v in header.items()]
    body = ',\n'.join('    ' + json.dumps(c, separators=(',', ':'), allow_nan=False) for c in cases)
    text = '{\n' + '\n'.join(lines) + ('\n' if lines else '') + '  "cases": [\n' + body + '\n  ]\n}\n'
    (HERE / f'{name}.json').write_text(text)
    print(f'{name}.json: {len(cases)} cases, {len(text)} bytes')


# ---- numbers that the tests can make again ----


def cotangent(t, phase=0):
    """Weights of a scalar made from t: sum(t * cotangent). Exact in float32, never zero."""
    n = t.numel()
    data = [(2 * ((7 * i + 3 * phase) % 11) - 11) / 8 for i in range(n)]
    return torch.tensor(data, dtype=t.dtype).reshape(t.shape)


class Minstd:
    """The Lehmer generator with multiplier 16807 (Park & Miller 1988); values have 24 bits."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = self.state * 16807 % 2147483647
        return (self.state >> 7) / 2.0**24

    def tensor(self, shape, dtype, scale=1.0):
        n = int(np.prod(shape, dtype=int))
        return torch.tensor([(2 * self.next() - 1) * scale for _ in range(n)], dtype=dtype).reshape(shape)


# ---- inputs ----

_rng = np.random.RandomState(20)


def rnd(*shape, low=-2.0, high=2.0):
    """Seeded values with three decimals, so that they print short."""
    return np.round(_rng.uniform(low, high, shape), 3)


def ints(values):
    return torch.tensor(values, dtype=torch.int64)


def bools(values):
    return torch.tensor(values, dtype=BOOL)


# ---- generic cases: {op, inputs, attrs, output, grads, grads2} ----


def run(fn, inputs, attrs, grad, second, only=None):
    """Output, gradients and gradients of gradients (of the first `only` inputs), in the dtype of the inputs."""
    n = len(inputs) if only is None else only
    leaves = [
        x.clone().requires_grad_(grad and x.is_floating_point() and k < n) for k, x in enumerate(inputs)
    ]
    out = fn(*leaves, **attrs)
    if not (grad and out.requires_grad):
        return out, None, None
    wanted = [x for x in leaves if x.requires_grad]
    first = torch.autograd.grad((out * cotangent(out)).sum(), wanted, create_graph=second, allow_unused=True)
    first = [torch.zeros_like(x) if g is None else g for x, g in zip(wanted, first)]
    grads2 = None
    if second:
        scalar = sum((g * cotangent(g, 1 + k)).sum() for k, g in enumerate(first))
        if scalar.requires_grad:
            grads2 = torch.autograd.grad(scalar, wanted, allow_unused=True)
            grads2 = [torch.zeros_like(x) if g is None else g for x, g in zip(wanted, grads2)]
        else:  # linear in everything
            grads2 = [torch.zeros_like(x) for x in wanted]

    def align(values):
        it = iter(values)
        return [next(it) if x.requires_grad else None for x in leaves]

    return out, align(first), None if grads2 is None else align(grads2)


def tensors_of(inputs, dtype):
    out = []
    for x in inputs:
        if isinstance(x, torch.Tensor):
            out.append(x)  # labels, indices, masks
        else:
            out.append(torch.tensor(np.asarray(x, dtype=float), dtype=dtype))
    return out


def close(a, b):
    return torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5, equal_nan=True)


class Cases:
    def __init__(self):
        self.cases = []

    def add(
        self,
        op,
        fn,
        inputs,
        attrs=None,
        kwargs=None,
        grad=True,
        second=False,
        dtypes=('float64', 'float32'),
        check32=True,
        only=None,
        note=None,
        **flags,
    ):
        """`attrs` is what the test hands to our API, `kwargs` what fn needs of it in PyTorch's words."""
        kwargs = kwargs or {}
        for name in dtypes:
            single = name == 'float32'
            # float32 answers are computed in float64 from the float32 inputs and rounded once: the
            # reference is then better than either library. PyTorch's own float32 must agree roughly.
            exact = [x.double() if x.is_floating_point() else x for x in tensors_of(inputs, DTYPES[name])]
            out, grads, grads2 = run(fn, exact, kwargs, grad, second and not single, only)
            if single and check32:
                out32, grads32, _ = run(fn, tensors_of(inputs, F32), kwargs, grad, False, only)
                assert close(out, out32), (op, out, out32)
                for a, b in zip(grads or [], grads32 or []):
                    assert a is None or close(a, b), (op, a, b)
            case = {'op': op, 'inputs': [encode(x, single) for x in exact]}
            if attrs:
                case['attrs'] = plain(attrs)
            case['output'] = encode(out, single)
            if grads:
                case['grads'] = [None if g is None else encode(g, single)['data'] for g in grads]
            if grads2:
                case['grads2'] = [None if g is None else encode(g)['data'] for g in grads2]
            case.update(flags)
            if note:
                case['note'] = note
            self.cases.append(case)


def ops():
    c = Cases()
    x34 = rnd(3, 4)
    pos = rnd(3, 4, low=0.1, high=3)
    unary = {
        'neg': (torch.neg, x34),
        'exp': (torch.exp, x34),
        'expm1': (torch.expm1, x34),
        'log': (torch.log, pos),
        'log1p': (torch.log1p, rnd(3, 4, low=-0.9, high=3)),
        'sqrt': (torch.sqrt, pos),
        'sin': (torch.sin, rnd(3, 4, low=-7, high=7)),
        'cos': (torch.cos, rnd(3, 4, low=-7, high=7)),
        'abs': (torch.abs, x34),
        'sign': (torch.sign, x34),
        'floor': (torch.floor, x34),
        'relu': (F.relu, x34),
        'leakyRelu': (F.leaky_relu, x34),
        'sigmoid': (torch.sigmoid, rnd(3, 4, low=-6, high=6)),
        'tanh': (torch.tanh, rnd(3, 4, low=-3, high=3)),
        'erf': (torch.erf, x34),
        'gelu': (F.gelu, rnd(3, 4, low=-4, high=4)),
        'softplus': (F.softplus, rnd(3, 4, low=-10, high=10)),
        'square': (torch.square, x34),
        'reciprocal': (torch.reciprocal, pos),
        'silu': (F.silu, rnd(3, 4, low=-5, high=5)),
        'elu': (F.elu, x34),
        'logSigmoid': (F.logsigmoid, rnd(3, 4, low=-5, high=5)),
    }
    for op, (fn, x) in unary.items():
        c.add(op, fn, [x], second=True)
        c.add(op, fn, [np.asarray(float(x[0, 0]))], second=True)  # rank 0
        c.add(op, fn, [np.zeros((2, 0))])
    c.add('leakyRelu', F.leaky_relu, [x34], {'negativeSlope': 0.2}, {'negative_slope': 0.2}, second=True)
    # Tiny and large arguments, where a formula written the plain way loses its digits.
    tiny = [1e-3, -1e-3, 1e-5, -1e-5, 1e-8, -1e-8, 0.0]
    for op in ('expm1', 'log1p', 'tanh', 'erf', 'sin', 'gelu', 'softplus', 'sigmoid'):
        c.add(op, unary[op][0], [tiny], check32=False)
    # Between 20 and 37 PyTorch's softplus is x itself (its threshold); elsewhere it is the formula in both.
    c.add('softplus', F.softplus, [[-1e4, -100, -50, -15, 15, 19.5, 50, 100, 1e4]], check32=False)
    c.add('sigmoid', torch.sigmoid, [[-1e4, -80, -30, -17, 17, 30, 100, 1e4]])
    c.add('tanh', torch.tanh, [[-1e4, -30, -9, -5, 5, 9, 30, 1e4]])
    c.add('gelu', F.gelu, [[-1e4, -30, -8, -5, 5, 8, 30, 1e4]], check32=False)
    c.add('logSigmoid', F.logsigmoid, [[-1e4, -80, -30, -17, 17, 30, 1e4]])
    c.add('sin', torch.sin, [[100, -1000, 12345.678, 1e5]])
    c.add('cos', torch.cos, [[100, -1000, 12345.678, 1e5]])
    c.add('exp', torch.exp, [[-80, -20, 20, 80]])
    c.add('log', torch.log, [[1e-30, 1e-10, 1 - 2.0**-20, 1 + 2.0**-20, 1e10, 1e30]])

    # Special values: the forward value of each, and the gradients that PyTorch defines on purpose.
    special = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0]
    signed = {'neg', 'abs', 'sqrt', 'sin', 'floor', 'tanh', 'erf', 'expm1', 'log1p', 'reciprocal', 'square'}
    for op, (fn, _) in unary.items():
        if op == 'sign':  # NumPy's: NaN stays NaN, where PyTorch makes it 0
            fn = lambda x: torch.from_numpy(np.sign(x.numpy()))
        c.add(op, fn, [special], grad=False, signedZero=op in signed)
    for op, fn in (('isNan', torch.isnan), ('isFinite', torch.isfinite)):
        c.add(op, fn, [special], grad=False)
    c.add('abs', torch.abs, [[0.0, -0.0, 1, -1]])
    c.add('sqrt', torch.sqrt, [[0.0, 4.0]])
    c.add('relu', F.relu, [[0.0, -0.0, 1e-30, -1e-30, INF, -INF]])
    c.add('leakyRelu', F.leaky_relu, [[0.0, 1e-30, -1e-30, -5.0]])
    c.add('log', torch.log, [[0.0, 1.0, INF]])

    binary = {
        'add': torch.add,
        'sub': torch.sub,
        'mul': torch.mul,
        'div': torch.div,
        'maximum': torch.maximum,
        'minimum': torch.minimum,
    }
    shapes = [
        ((3, 4), (3, 4)),
        ((3, 4), (4,)),
        ((3, 1), (1, 4)),
        ((2, 1, 3), (4, 1)),
        ((), (2, 3)),
        ((2, 3), ()),
        ((1,), (2, 2)),
        ((1, 1, 1), (3,)),
        ((0, 3), (1, 3)),
        ((2, 0), (1,)),
    ]
    for op, fn in binary.items():
        for a, b in shapes:
            c.add(op, fn, [rnd(*a), rnd(*b, low=0.4, high=2)], second=len(a) + len(b) <= 5)
        c.add(
            op,
            fn,
            [
                [NAN, 1, NAN, INF, -INF, INF, 0.0, 0.0, 1, -1, 0.0],
                [1, NAN, NAN, INF, INF, 2, 1, -1, 0.0, 0.0, 0.0],
            ],
            grad=False,
            signedZero=op in ('mul', 'div'),
        )
        if op not in ('maximum', 'minimum'):
            for s in (2.5, -3, 0.1):
                c.add(op, lambda x, s=s, fn=fn: fn(x, s), [x34], {'scalar': s})
    for op in ('maximum', 'minimum'):  # where both are equal each gets half of the gradient
        c.add(op, binary[op], [[1, 2, 3, -1, 0], [1, 5, 3, -2, 0]])
        c.add(op, binary[op], [[[1, 2, 3], [2, 2, 2]], [2]])
    c.add('pow', torch.pow, [pos, rnd(3, 4)], second=True)
    c.add('pow', torch.pow, [pos, rnd(4)], second=True)
    c.add('pow', torch.pow, [rnd(3, 1, low=0.2, high=2), rnd(2, 1, 4)])
    for e in (0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.7):
        c.add('pow', lambda x, e=e: torch.pow(x, e), [pos], {'scalar': e}, second=True)
    for e in (0, 1, 2, 3, -1, -2):  # whole exponents take negative bases
        c.add('pow', lambda x, e=e: torch.pow(x, e), [[-2, -0.5, 1.5]], {'scalar': e}, second=True)
    for e in (0, 1, 2, 3):  # at zero the gradient is finite
        c.add('pow', lambda x, e=e: torch.pow(x, e), [[0.0, -1, 2]], {'scalar': e})
    c.add('pow', torch.pow, [[0, 0, 0, 2, 3], [0, 1, 2, 0, 1]], note='gradients at base and exponent zero')
    c.add(
        'pow',
        torch.pow,
        [[0, -8, -8, -8, 1, NAN, 2, 0.5, INF, -INF, 0], [-1, 1 / 3, 3, -3, NAN, 0, INF, INF, -1, 3, 2]],
        grad=False,
    )

    for low, high in ((-0.5, 0.5), (None, 0.5), (-0.5, None)):
        attrs = {k: v for k, v in (('min', low), ('max', high)) if v is not None}
        c.add('clamp', torch.clamp, [[-2, -0.5, -0.25, 0, 0.25, 0.5, 2]], attrs, attrs, second=True)
        c.add('clamp', torch.clamp, [special], attrs, attrs, grad=False)

    # Comparisons, logic, selection.
    a, b = [1, 2, 3, NAN, INF, 0.0, -INF], [1, 3, 2, NAN, INF, -0.0, INF]
    for op in ('eq', 'ne', 'lt', 'le', 'gt', 'ge'):
        fn = getattr(torch, op)
        c.add(op, fn, [a, b], grad=False)
        c.add(op, fn, [rnd(3, 1), rnd(1, 4)], grad=False)
        c.add(op, lambda x, fn=fn: fn(x, 0.5), [[0.25, 0.5, 1]], {'scalar': 0.5}, grad=False)
        c.add(op, fn, [ints([1, 2, 3]), ints([[2], [1]])], dtypes=('float64',))
    t, f = True, False
    c.add('logicalAnd', torch.logical_and, [bools([t, t, f, f]), bools([t, f, t, f])], dtypes=('float64',))
    c.add('logicalOr', torch.logical_or, [bools([t, t, f, f]), bools([t, f, t, f])], dtypes=('float64',))
    c.add('logicalNot', torch.logical_not, [bools([t, f])], dtypes=('float64',))
    c.add('where', torch.where, [bools([[t, f, t], [f, f, t]]), rnd(2, 3), rnd(2, 3)], second=True)
    c.add('where', torch.where, [bools([[t], [f]]), rnd(3), rnd(2, 1)])
    c.add(
        'where',
        torch.where,
        [bools([t, f, t]), [1, 2, 3], [NAN, NAN, INF]],
        note='the unchosen side leaks nothing',
    )

    # Reductions.
    x = rnd(2, 3, 4)
    axes = [None, 0, 1, -1, [0, 2], [0, 1, 2]]

    def reduction(op, fn, x, axis, keepdims, second=False, extra=None, kwargs=None, **flags):
        attrs = {
            **({} if axis is None else {'axis': axis}),
            **({'keepdims': True} if keepdims else {}),
            **(extra or {}),
        }
        n = np.asarray(x).ndim
        dim = list(range(n)) if axis is None else axis
        c.add(
            op,
            lambda t: fn(t, dim=dim, keepdim=keepdims, **(kwargs or {})),
            [x],
            attrs,
            second=second,
            **flags,
        )

    def prod(t, dim, keepdim):
        for d in sorted((d % t.dim() for d in (dim if isinstance(dim, list) else [dim])), reverse=True):
            t = t.prod(d, keepdim=keepdim)
        return t

    def std(t, dim, keepdim, correction):
        return t.std(dim, correction=correction, keepdim=keepdim)

    def var(t, dim, keepdim, correction):
        return t.var(dim, correction=correction, keepdim=keepdim)

    for axis in axes:
        for keepdims in (False, True):
            s = axis in (None, 1, -1)
            reduction('sum', torch.sum, x, axis, keepdims, s)
            reduction('mean', torch.mean, x, axis, keepdims, s)
            reduction('max', torch.amax, x, axis, keepdims, s)
            reduction('min', torch.amin, x, axis, keepdims, s)
            reduction('prod', prod, x, axis, keepdims, s and not keepdims)
            reduction('logSumExp', torch.logsumexp, x, axis, keepdims, s)
            reduction('var', var, x, axis, keepdims, s, None, {'correction': 1})
            reduction('std', std, x, axis, keepdims, s, None, {'correction': 1})
            reduction('norm', torch.linalg.vector_norm, x, axis, keepdims, s)
    for op, fn in (('var', var), ('std', std)):
        for k in (0, 2):
            reduction(op, fn, x, 1, False, True, {'correction': k}, {'correction': k})
            reduction(op, fn, x, None, False, False, {'correction': k}, {'correction': k})
        reduction(op, fn, [[1e4 + 1, 1e4 + 2, 1e4 + 3, 1e4 + 4]], -1, False, False, None, {'correction': 1})
    reduction(
        'std',
        std,
        [[2, 2, 2], [1, 2, 3]],
        1,
        False,
        False,
        None,
        {'correction': 1},
        note='gradient at zero deviation is zero',
    )
    reduction(
        'norm',
        torch.linalg.vector_norm,
        [[0, 0, 0], [3, 4, 0]],
        1,
        False,
        note='gradient at the zero vector is zero',
    )
    for p in (1, 3, INF):
        reduction('norm', torch.linalg.vector_norm, x, 1, False, False, {'p': p}, {'ord': p})
        reduction('norm', torch.linalg.vector_norm, x, None, False, False, {'p': p}, {'ord': p})
    for op, fn in (('max', torch.amax), ('min', torch.amin)):  # equal values share the gradient
        reduction(op, fn, [[1, 3, 3, 2], [5, 5, 5, 5]], 1, False)
        reduction(op, fn, [[1, 3, 3, 2], [1, 3, 1, 1]], None, False)
        reduction(op, fn, [[1, NAN, 3], [INF, -INF, 0]], 1, False, grad=False)
    for op, fn in (('sum', torch.sum), ('mean', torch.mean)):
        reduction(op, fn, [[1, NAN, 3], [INF, -INF, 0], [INF, INF, 0]], 1, False, grad=False)
        reduction(op, fn, np.zeros((2, 0)), 0, False, check32=False)
    reduction('sum', torch.sum, np.zeros((2, 0)), 1, True)
    reduction('sum', torch.sum, np.zeros((0, 3)), 0, False)
    reduction('sum', torch.sum, np.zeros((0,)), None, False)
    reduction('mean', torch.mean, np.zeros((0, 2)), 0, False, grad=False)  # NaN
    reduction('prod', prod, np.zeros((2, 0)), 1, False)
    reduction(
        'prod',
        prod,
        [[0, 2, 3], [0, 0, 3], [1, 2, 4]],
        1,
        False,
        note='gradients with zeros among the factors',
    )
    reduction(
        'logSumExp', torch.logsumexp, [[-INF, -INF], [INF, 1], [NAN, 1], [-INF, 2]], 1, False, grad=False
    )
    reduction('logSumExp', torch.logsumexp, [[1e5, 1e5], [-1e5, -1e5 + 1], [1e5, -1e5]], 1, False, grad=False)
    reduction('logSumExp', torch.logsumexp, [[750, 750], [-751, -750], [1e5, -1e5]], 1, False, check32=False)
    reduction('sum', torch.sum, np.asarray(1.5), None, False)
    for op in ('argmax', 'argmin'):
        np_fn = getattr(np, op)
        for v in (x, [[3, 1, 3, 1], [2, 2, 2, 2]], [[1, NAN, 3], [INF, -INF, 0]]):
            v = np.asarray(v, dtype=float)
            for axis in (None, 0, -1):
                # NumPy promises the first of equals; PyTorch leaves it open.
                answer = torch.tensor(np_fn(v, axis=axis), dtype=I32)
                c.add(
                    op,
                    lambda t, answer=answer: answer,
                    [v],
                    {} if axis is None else {'axis': axis},
                    grad=False,
                )
    for op, fn in (('softmax', F.softmax), ('logSoftmax', F.log_softmax)):
        for axis in (0, 1, -1):
            c.add(op, lambda t, fn=fn, axis=axis: fn(t, dim=axis), [x], {'axis': axis}, second=True)
        c.add(
            op, lambda t, fn=fn: fn(t, dim=-1), [rnd(3, 4)], None, second=True
        )  # the last axis is the default
        c.add(op, lambda t, fn=fn: fn(t, dim=-1), [rnd(5)], None)
        c.add(
            op, lambda t, fn=fn: fn(t, dim=-1), [[[1e5, -1e5, 0], [1e5, 1e5, 1e5 - 1], [-1e5, -1e5 - 2, 0]]]
        )
        c.add(
            op,
            lambda t, fn=fn: fn(t, dim=-1),
            [[[-INF, 0, 1], [NAN, 0, 1], [INF, 0, 1], [-INF, -INF, -INF]]],
            grad=False,
        )

    # Products.
    forms = [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((2, 3), (3, 4)),
        ((2, 3, 4), (2, 4, 2)),
        ((2, 3, 4), (4, 2)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 2)),
        ((4,), (2, 4, 3)),
        ((2, 3, 4), (4,)),
        ((1, 1), (1, 1)),
        ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
        ((0,), (0,)),
        ((0, 2, 3), (3, 2)),
        ((17, 9), (9, 13)),
    ]
    for a, b in forms:
        small = np.prod(a) * np.prod(b) < 200
        c.add('matmul', torch.matmul, [rnd(*a), rnd(*b)], second=bool(small))
    c.add('matmul', torch.matmul, [[[1, NAN], [0, INF]], [[0, 1], [2, 3]]], grad=False)
    c.add('linear', lambda x, w, b: x @ w + b, [rnd(4, 3), rnd(3, 2), rnd(2)], second=True)
    c.add('linear', lambda x, w, b: x @ w + b, [rnd(2, 2, 3), rnd(3, 2), rnd(2)])
    c.add('linear', lambda x, w: x @ w, [rnd(4, 3), rnd(3, 2)])

    # Moving and picking.
    x = rnd(2, 3, 4)
    c.add('transpose', lambda t: t.transpose(0, 1), [rnd(3, 4)], None, second=True)
    c.add('transpose', lambda t: t.transpose(0, 2), [x], {'axes': [0, 2]})
    c.add('transpose', lambda t: t.transpose(-1, -2), [x], {'axes': [-1, -2]})
    c.add('permute', lambda t: t.permute(2, 0, 1), [x], {'axes': [2, 0, 1]})
    c.add('reshape', lambda t: t.reshape(4, 6), [x], {'shape': [4, 6]}, second=True)
    c.add('reshape', lambda t: t.reshape(2, -1), [x], {'shape': [2, -1]})
    c.add('flatten', lambda t: t.flatten(), [x])
    c.add('flatten', lambda t: t.flatten(1), [x], {'startAxis': 1})
    c.add('squeeze', lambda t: t.squeeze(1), [rnd(2, 1, 3)], {'axis': 1})
    c.add('unsqueeze', lambda t: t.unsqueeze(-1), [rnd(2, 3)], {'axis': -1})
    c.add('broadcastTo', lambda t: t.broadcast_to(2, 3, 4), [rnd(3, 1)], {'shape': [2, 3, 4]}, second=True)
    c.add('concat', lambda *t: torch.cat(t, 0), [rnd(2, 3), rnd(1, 3)], {'axis': 0}, second=True)
    c.add('concat', lambda *t: torch.cat(t, -1), [rnd(2, 3), rnd(2, 1), rnd(2, 0)], {'axis': -1})
    c.add('stack', lambda *t: torch.stack(t, 0), [rnd(2, 3), rnd(2, 3)], {'axis': 0}, second=True)
    c.add('stack', lambda *t: torch.stack(t, -1), [rnd(2, 3), rnd(2, 3)], {'axis': -1})
    for ranges, key in (
        ([[0, 1]], np.s_[0:1]),
        ([[1, 2], [0, 2]], np.s_[1:2, 0:2]),
        ([[0, 2], [0, 3], [1, 4, 2]], np.s_[0:2, 0:3, 1:4:2]),
        ([[-1, None]], np.s_[-1:]),
        ([[0, 0]], np.s_[0:0]),
        ([[0, 99], [1, -1]], np.s_[0:99, 1:-1]),
    ):
        c.add('slice', lambda t, key=key: t[key], [x], {'ranges': ranges}, second=True)
    c.add('indexSelect', lambda t, i: t.index_select(0, i), [x, ints([1, 0, 1, 1])], {'axis': 0}, second=True)
    c.add('indexSelect', lambda t, i: t.index_select(-1, i), [x, ints([3, 3, 0])], {'axis': -1})
    c.add('indexSelect', lambda t, i: t.index_select(1, i), [x, ints([])], {'axis': 1})
    c.add(
        'gather',
        lambda t, i: t.gather(1, i),
        [rnd(3, 4), ints([[0, 3], [1, 1], [2, 0]])],
        {'axis': 1},
        second=True,
    )
    c.add('gather', lambda t, i: t.gather(0, i), [rnd(3, 4), ints([[0, 1, 2, 0], [2, 2, 2, 2]])], {'axis': 0})
    c.add('gather', lambda t, i: t.gather(-1, i), [x, ints([[[0], [1], [2]], [[3], [3], [3]]])], {'axis': -1})

    # int32.
    i, j = ints([[1, -2, 3], [7, 0, -5]]), ints([2, -3, 4])
    whole = {'neg': torch.neg, 'abs': torch.abs, 'sign': torch.sign, 'relu': F.relu}
    for op, fn in whole.items():
        c.add(op, fn, [i], dtypes=('float64',))
    for op in ('add', 'sub', 'mul', 'maximum', 'minimum'):
        c.add(op, binary[op], [i, j], dtypes=('float64',))
    c.add('sum', torch.sum, [i], dtypes=('float64',))
    c.add('sum', lambda t: t.sum(1), [i], {'axis': 1}, dtypes=('float64',))
    c.add('max', lambda t: t.amax(1), [i], {'axis': 1}, dtypes=('float64',))
    c.add('min', lambda t: t.amin(0), [i], {'axis': 0}, dtypes=('float64',))
    c.add('clamp', torch.clamp, [i], {'min': -2, 'max': 3}, {'min': -2, 'max': 3}, dtypes=('float64',))
    write('ops', c.cases)


def promotion():
    """Which dtype comes out when two meet. PyTorch's int64 sums are listed as int32: we have no wider one."""
    torch.set_default_dtype(F32)
    values = {'float32': [1.5, -2.0], 'float64': [0.1, 3.0], 'int32': [7, -2], 'bool': [True, False]}
    other = {'float32': [0.5, 4.0], 'float64': [0.2, -1.0], 'int32': [2, 3], 'bool': [True, True]}
    cases = []

    def put(op, inputs, fn, attrs=None):
        try:
            out = fn(*inputs)
        except RuntimeError:
            out = None
        case = {'op': op, 'inputs': [encode(x) for x in inputs]}
        if attrs:
            case['attrs'] = attrs
        case['output'] = None if out is None else encode(out)
        cases.append(case)

    pairs = [(a, b) for a in DTYPES for b in DTYPES]
    for a, b in pairs:
        x = torch.tensor(values[a], dtype=DTYPES[a])
        y = torch.tensor(other[b], dtype=DTYPES[b])
        for op in ('add', 'sub', 'mul', 'div', 'maximum', 'minimum', 'eq', 'lt'):
            put(op, [x, y], getattr(torch, op))
        put('concat', [x, y], lambda *t: torch.cat(t), {'axis': 0})
        if a == b or 'bool' not in (a, b):
            put('where', [bools([True, False]), x, y], lambda k, p, q: torch.where(k, p, q))
    for a in DTYPES:
        x = torch.tensor(values[a], dtype=DTYPES[a])
        for s in (2, 2.5):
            for op in ('add', 'mul', 'div', 'sub'):
                put(op, [x], lambda t, op=op, s=s: getattr(torch, op)(t, s), {'scalar': s})
        for op, fn in (
            ('exp', torch.exp),
            ('sigmoid', torch.sigmoid),
            ('tanh', torch.tanh),
            ('sqrt', torch.sqrt),
            ('neg', torch.neg),
            ('abs', torch.abs),
            ('sign', torch.sign),
            ('sum', torch.sum),
            ('mean', torch.mean),
            ('relu', F.relu),
            ('max', torch.amax),
        ):
            put(op, [x], fn)
        for b in DTYPES:
            put('to', [x], lambda t, b=b: t.to(DTYPES[b]), {'dtype': b})
    put('to', [torch.tensor([1.9, -1.9, 0.5, -0.5, 0.0])], lambda t: t.to(I32), {'dtype': 'int32'})
    put('to', [torch.tensor([NAN, 0.0, -0.0, 0.25, INF])], lambda t: t.to(BOOL), {'dtype': 'bool'})
    put(
        'to',
        [torch.tensor([0.1, 1e-46, 1e39, NAN, -INF, -0.0], dtype=F64)],
        lambda t: t.to(F32),
        {'dtype': 'float32'},
    )
    torch.set_default_dtype(F64)
    write('promotion', cases)


def losses():
    c = Cases()
    reductions = ('mean', 'sum', 'none')
    logits, labels = rnd(5, 4, low=-3, high=3), ints([1, 0, 3, 2, 2])
    rows = _rng.dirichlet([1] * 4, 5).round(4)
    rows /= rows.sum(1, keepdims=True)
    onehot = np.eye(4)[[1, 0, 3, 2, 2]]
    weight = [0.5, 2, 1, 1.5]

    def put(loss, fn, inputs, attrs=None, kwargs=None, extra=None, **rest):
        for r in reductions:
            a = {**(attrs or {}), **({} if r == 'mean' else {'reduction': r})}
            c.add(loss, fn, inputs, a, {**(kwargs or {}), 'reduction': r}, **rest)

    def w(fn, name='weight', values=weight):
        """fn with a weight vector in the dtype of its first input."""
        return lambda x, *a, **k: fn(x, *a, **{name: torch.tensor(values, dtype=x.dtype)}, **k)

    ce = F.cross_entropy
    put('crossEntropy', ce, [logits, labels], second=True)
    put('crossEntropy', ce, [logits, labels], {'labelSmoothing': 0.1}, {'label_smoothing': 0.1}, second=True)
    put('crossEntropy', ce, [logits, rows])
    put('crossEntropy', ce, [logits, onehot])
    put('crossEntropy', ce, [logits, rows], {'labelSmoothing': 0.2}, {'label_smoothing': 0.2})
    ignoring = ints([1, -100, 3, -100, 2])
    put('crossEntropy', ce, [logits, ignoring])
    put('crossEntropy', ce, [logits, ignoring], {'ignoreIndex': -100})
    put('crossEntropy', ce, [logits, ignoring], {'labelSmoothing': 0.1}, {'label_smoothing': 0.1})
    put(
        'crossEntropy',
        ce,
        [logits, ints([-100] * 5)],
        grad=False,
        note='nothing is left: the mean is NaN',
    )
    put('crossEntropy', ce, [logits, ints([1, 0, 3, 0, 2])], {'ignoreIndex': 0}, {'ignore_index': 0})
    put('crossEntropy', w(ce), [logits, labels], {'weight': weight})
    put('crossEntropy', w(ce), [logits, ignoring], {'weight': weight})
    put(
        'crossEntropy',
        w(ce),
        [logits, ignoring],
        {'weight': weight, 'labelSmoothing': 0.1},
        {'label_smoothing': 0.1},
    )
    put(
        'crossEntropy',
        w(ce),
        [logits, labels],
        {'weight': weight, 'labelSmoothing': 0.1},
        {'label_smoothing': 0.1},
    )
    put('crossEntropy', w(ce), [logits, rows], {'weight': weight})
    big = [[1e5, -1e5, 0, 3], [-1e5, 1e5, 1e5, 0], [1e5, 1e5, 1e5, 1e5]]
    put('crossEntropy', ce, [big, ints([0, 1, 2])])
    put('crossEntropy', ce, [big, ints([1, 0, 3])])
    put('crossEntropy', ce, [rnd(1, 1), ints([0])])
    c.add('crossEntropy', ce, [rnd(4), ints(2)], note='one sample: class scores [C] and a rank-0 label')
    put('crossEntropy', ce, [rnd(2, 3, 4), ints([[0, 1, 2, 2], [1, 0, 0, 2]])], note='classes on axis 1')

    logp = np.log(rows)
    put('nllLoss', F.nll_loss, [logp, labels])
    put('nllLoss', F.nll_loss, [logp, ignoring])
    put('nllLoss', w(F.nll_loss), [logp, labels], {'weight': weight})
    for loss, fn, options in (
        ('mseLoss', F.mse_loss, [{}]),
        ('l1Loss', F.l1_loss, [{}]),
        ('smoothL1Loss', F.smooth_l1_loss, [{}, {'beta': 0.5}, {'beta': 2.0}, {'beta': 0.0}]),
        ('huberLoss', F.huber_loss, [{}, {'delta': 0.5}, {'delta': 2.0}]),
    ):
        for o in options:
            put(loss, fn, [rnd(3, 4), rnd(3, 4)], o, o, second=loss == 'mseLoss')
        put(loss, fn, [[0.0, 1, -1, 2, 1e4], [0.0, 0, 0, 0, 0]])  # on the kinks
    probs = rnd(6, low=0.02, high=0.98)
    targets = [0, 1, 1, 0, 0.25, 0.9]
    w6 = [1, 2, 0.5, 1, 3, 0.1]
    bce, bcel = F.binary_cross_entropy, F.binary_cross_entropy_with_logits

    put('bce', bce, [probs, targets], second=False)
    put('bce', w(bce, values=w6), [probs, targets], {'weight': w6})
    # Each logarithm is at least -100, and the spread x (1 - x) at least 1e-12, which PyTorch rounds to float32.
    put(
        'bce',
        lambda x, t, **k: bce(x, t.detach(), **k),
        [[0.0, 1, 0, 1], [0.0, 1, 1, 0]],
        only=1,
        relative=1e-8,
    )
    z = rnd(6, low=-4, high=4)
    put('bceWithLogits', bcel, [z, targets], second=True)
    put('bceWithLogits', w(bcel, values=w6), [z, targets], {'weight': w6})
    put('bceWithLogits', w(bcel, 'pos_weight', [3.0] * 6), [z, targets], {'posWeight': [3.0] * 6})
    put('bceWithLogits', bcel, [[1e5, -1e5, 1e5, -1e5, 0, 50, -50], [1, 0, 0, 1, 0.5, 0, 1]])
    put('bceWithLogits', bcel, [rnd(3, 2), np.round(_rng.uniform(0, 1, (3, 2)))])
    write('losses', c.cases)


# ---- optimizers ----

PARAM_SHAPES = [(3, 4), (5,)]


def initial(k, dtype):
    n = int(np.prod(PARAM_SHAPES[k]))
    return torch.tensor([((5 * i + 3 * k) % 17 - 8) / 16 + 1 / 32 for i in range(n)], dtype=dtype).reshape(
        PARAM_SHAPES[k]
    )


def gradient(k, step, dtype):
    """Of parameter k before step `step` (from 1): some zeros, changing signs, a size that comes and goes."""
    n = int(np.prod(PARAM_SHAPES[k]))
    data = [((7 * i + 5 * step + 3 * k) % 13 - 6) / 8 * 2.0 ** -(step % 4) for i in range(n)]
    return torch.tensor(data, dtype=dtype).reshape(PARAM_SHAPES[k])


def camel(name):
    head, *tail = name.split('_')
    return head + ''.join(p.capitalize() for p in tail)


def optimizers():
    o = torch.optim
    plans = [
        (
            o.SGD,
            [
                dict(lr=0.1),
                dict(lr=0.1, weight_decay=0.01),
                dict(lr=0.1, maximize=True),
                dict(lr=0.05, maximize=True, weight_decay=0.1),
                dict(lr=0.1, momentum=0.9),
                dict(lr=0.1, momentum=0.9, dampening=0.3),
                dict(lr=0.1, momentum=0.9, nesterov=True),
                dict(lr=0.1, momentum=0.5, weight_decay=0.1),
                dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
                dict(lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.02, maximize=True),
            ],
        ),
        (
            o.Adam,
            [
                dict(),
                dict(lr=0.05),
                dict(lr=0.05, betas=(0.8, 0.95)),
                dict(lr=0.05, eps=1e-2),
                dict(lr=0.05, weight_decay=0.1),
                dict(lr=0.05, amsgrad=True),
                dict(lr=0.05, maximize=True),
                dict(lr=0.05, betas=(0.0, 0.9)),
                dict(lr=0.02, betas=(0.7, 0.9), eps=1e-4, weight_decay=0.05, amsgrad=True, maximize=True),
            ],
        ),
        (
            o.AdamW,
            [
                dict(),
                dict(lr=0.05),
                dict(lr=0.05, weight_decay=0),
                dict(lr=0.05, weight_decay=0.2),
                dict(lr=0.05, betas=(0.8, 0.95), eps=1e-3),
                dict(lr=0.05, amsgrad=True),
                dict(lr=0.05, maximize=True, weight_decay=0.1),
            ],
        ),
        (
            o.RMSprop,
            [
                dict(),
                dict(lr=0.05, alpha=0.9),
                dict(lr=0.05, eps=1e-3),
                dict(lr=0.05, weight_decay=0.1),
                dict(lr=0.02, momentum=0.9),
                dict(lr=0.02, centered=True),
                dict(lr=0.02, centered=True, momentum=0.5, weight_decay=0.05, alpha=0.95),
                dict(lr=0.05, maximize=True),
            ],
        ),
        (
            o.Rprop,
            [
                dict(),
                dict(lr=0.1, etas=(0.4, 1.5)),
                dict(lr=0.1, step_sizes=(1e-2, 0.15)),
                dict(lr=0.02, maximize=True),
            ],
        ),
        (
            o.Adagrad,
            [
                dict(),
                dict(lr=0.1, lr_decay=0.05),
                dict(lr=0.1, weight_decay=0.1),
                dict(lr=0.1, initial_accumulator_value=0.5),
                dict(lr=0.1, eps=1e-2),
                dict(lr=0.1, maximize=True),
            ],
        ),
        (
            o.Adadelta,
            [dict(), dict(lr=0.5, rho=0.8), dict(weight_decay=0.1), dict(eps=1e-3), dict(maximize=True)],
        ),
        (
            o.Adamax,
            [
                dict(),
                dict(lr=0.05, betas=(0.8, 0.95)),
                dict(lr=0.05, weight_decay=0.1),
                dict(lr=0.05, eps=1e-2),
                dict(lr=0.05, maximize=True),
            ],
        ),
        (
            o.NAdam,
            [
                dict(),
                dict(lr=0.05, betas=(0.8, 0.95)),
                dict(lr=0.05, weight_decay=0.1),
                dict(lr=0.05, momentum_decay=0.05),
                dict(lr=0.05, eps=1e-2),
            ],
        ),
        (
            o.RAdam,
            [
                dict(),
                dict(lr=0.05, betas=(0.8, 0.95)),
                dict(lr=0.05, weight_decay=0.1),
                dict(lr=0.05, eps=1e-2),
            ],
        ),
    ]
    cases = []

    def put(cls, options, changes=None, groups=None):
        # changes: {step: lr} set before that step. groups: one option dict per parameter.
        for dtype in (F64, F32):
            params = [initial(k, dtype).requires_grad_() for k in range(2)]
            arg = params if groups is None else [{'params': [p], **g} for p, g in zip(params, groups)]
            kwargs = dict(options)
            if cls is o.SGD:
                assert 'lr' in options
            # PyTorch 1.13 writes NAdam twice; the version for single tensors has a factor mu too many, as
            # https://github.com/pytorch/pytorch/pull/92699 found.
            optimizer = cls(arg, **kwargs, foreach=cls is o.NAdam)
            snaps = {}
            for step in range(1, 31):
                for g in optimizer.param_groups:
                    if changes and step in changes:
                        g['lr'] = changes[step]
                for k, p in enumerate(params):
                    p.grad = gradient(k, step, dtype)
                optimizer.step()
                if step in (1, 2, 10, 30):
                    snaps[str(step)] = [encode(p)['data'] for p in params]
            case = {
                'optimizer': cls.__name__,
                'dtype': NAMES[dtype],
                'options': plain({camel(k): v for k, v in options.items()}),
            }
            if groups:
                case['groups'] = plain([{camel(k): v for k, v in g.items()} for g in groups])
            if changes:
                case['lrChanges'] = {str(k): v for k, v in changes.items()}
            case['after'] = snaps
            cases.append(case)

    for cls, options in plans:
        for opt in options:
            put(cls, opt)
    for cls in (o.SGD, o.Adam, o.AdamW):
        base = dict(lr=0.1, momentum=0.9) if cls is o.SGD else dict(lr=0.05)
        put(cls, base, changes={4: 0.02, 11: 0.2})
        put(cls, base, groups=[dict(lr=0.01), dict(weight_decay=0.3)])
    write(
        'optimizers',
        cases,
        shapes=[list(s) for s in PARAM_SHAPES],
        initial='((5*i + 3*k) mod 17 - 8) / 16 + 1/32 for element i of parameter k',
        gradient='((7*i + 5*step + 3*k) mod 13 - 6) / 8 * 2^-(step mod 4) before step `step`, counted from 1',
    )


# ---- training ----


def training():
    cases = []
    sizes, rows, batch, steps = [20, 16, 8, 5], 64, 16, 50

    def put(optimizer, options, dtype, variant):
        g = Minstd(12345)
        x = g.tensor((rows, sizes[0]), dtype)
        # The class is the group of four features with the largest sum: exact sums, so no ties by rounding.
        labels = x.double().reshape(rows, 5, 4).sum(2).argmax(1)
        layers, params, mods = [], {}, []
        for n, (a, b) in enumerate(zip(sizes, sizes[1:])):
            last = n == len(sizes) - 2
            normed = variant == 'batchNorm' and not last
            linear = torch.nn.Linear(a, b, bias=not normed, dtype=dtype)
            weight = g.tensor((a, b), dtype, 0.5)  # [nIn, nOut], as our nn.Linear keeps it
            with torch.no_grad():
                linear.weight.copy_(weight.T)
                if not normed:
                    linear.bias.copy_(g.tensor((b,), dtype, 0.25))
            mods.append(linear)
            if normed:
                mods.append(torch.nn.BatchNorm1d(b, dtype=dtype))
            if variant == 'layerNorm' and not last:
                mods.append(torch.nn.LayerNorm(b, dtype=dtype))
            if not last:
                mods.append(torch.nn.GELU() if variant == 'layerNorm' else torch.nn.ReLU())
        model = torch.nn.Sequential(*mods)
        opt = getattr(torch.optim, optimizer)(model.parameters(), **options, foreach=False)
        values = []
        for step in range(steps):
            at = step * batch % rows
            loss = F.cross_entropy(model(x[at : at + batch]), labels[at : at + batch])
            opt.zero_grad()
            loss.backward()
            opt.step()
            values.append(number(loss.item(), dtype == F32))
        final = []
        for m in mods:
            if isinstance(m, torch.nn.Linear):
                final.append(encode(m.weight.T.contiguous()))
                if m.bias is not None:
                    final.append(encode(m.bias))
            elif isinstance(m, (torch.nn.BatchNorm1d, torch.nn.LayerNorm)):
                final += [encode(m.weight), encode(m.bias)]
        model.eval()
        with torch.no_grad():
            out = model(x[:3])
        cases.append(
            {
                'model': variant,
                'optimizer': optimizer,
                'dtype': NAMES[dtype],
                'options': plain({camel(k): v for k, v in options.items()}),
                'losses': values,
                'parameters': final,
                'evalOutput': encode(out),
            }
        )

    for dtype in (F64, F32):
        put('SGD', dict(lr=0.1, momentum=0.9), dtype, 'relu')
        put('Adam', dict(lr=0.01), dtype, 'relu')
        put('AdamW', dict(lr=0.01, weight_decay=0.05), dtype, 'relu')
        put('SGD', dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.001), dtype, 'batchNorm')
        put('Adam', dict(lr=0.01), dtype, 'layerNorm')
    write('training', cases, sizes=sizes, rows=rows, batch=batch, steps=steps, seed=12345)


# ---- schedules ----


def schedules():
    s = torch.optim.lr_scheduler
    cases = []

    def make(lr, **kw):
        p = torch.zeros(1, requires_grad=True)
        return torch.optim.SGD([p], lr=lr, momentum=0.9, **kw)

    def put(cls, options, lr=0.1, steps=30, momentum=False):
        opt = make(lr)
        schedule = cls(opt, **options)
        lrs, momenta = [], []
        for _ in range(steps):
            lrs.append(opt.param_groups[0]['lr'])
            momenta.append(opt.param_groups[0]['momentum'])
            opt.step()
            schedule.step()
        lrs.append(opt.param_groups[0]['lr'])
        momenta.append(opt.param_groups[0]['momentum'])
        names = {'T_max': 'tMax', 'T_0': 't0', 'T_mult': 'tMult'}
        case = {
            'schedule': cls.__name__,
            'lr': lr,
            'options': plain({names.get(k, camel(k)): v for k, v in options.items()}),
            'lrs': plain(lrs),
        }
        if momentum:
            case['momentum'] = plain(momenta)
        cases.append(case)

    put(s.StepLR, dict(step_size=7))
    put(s.StepLR, dict(step_size=4, gamma=0.5))
    put(s.MultiStepLR, dict(milestones=[3, 10, 11], gamma=0.3))
    put(s.MultiStepLR, dict(milestones=[5, 20]))
    put(s.ExponentialLR, dict(gamma=0.9))
    put(s.CosineAnnealingLR, dict(T_max=10))
    put(s.CosineAnnealingLR, dict(T_max=30, eta_min=0.001))
    put(s.CosineAnnealingLR, dict(T_max=7, eta_min=0.02))
    put(s.LinearLR, {})
    put(s.LinearLR, dict(start_factor=0.1, end_factor=0.8, total_iters=12))
    put(s.ConstantLR, {})
    put(s.ConstantLR, dict(factor=0.25, total_iters=9))
    put(s.PolynomialLR, dict(total_iters=20))
    put(s.PolynomialLR, dict(total_iters=20, power=2.0))
    put(s.OneCycleLR, dict(max_lr=0.5, total_steps=31), momentum=True)
    put(
        s.OneCycleLR,
        dict(
            max_lr=0.5,
            epochs=5,
            steps_per_epoch=7,
            pct_start=0.4,
            anneal_strategy='linear',
            div_factor=10.0,
            final_div_factor=100.0,
        ),
        momentum=True,
    )
    put(
        s.OneCycleLR,
        dict(max_lr=1.0, total_steps=40, three_phase=True, base_momentum=0.8, max_momentum=0.9),
        steps=39,
        momentum=True,
    )
    put(s.OneCycleLR, dict(max_lr=0.5, total_steps=31, cycle_momentum=False), momentum=True)
    put(s.CosineAnnealingWarmRestarts, dict(T_0=5))
    put(s.CosineAnnealingWarmRestarts, dict(T_0=4, T_mult=2, eta_min=0.01))
    put(s.CyclicLR, dict(base_lr=0.01, max_lr=0.1, step_size_up=5), momentum=True)
    put(
        s.CyclicLR,
        dict(
            base_lr=0.01,
            max_lr=0.1,
            step_size_up=4,
            step_size_down=6,
            mode='triangular2',
            cycle_momentum=False,
        ),
    )
    put(
        s.CyclicLR,
        dict(base_lr=0.01, max_lr=0.1, step_size_up=4, mode='exp_range', gamma=0.9, cycle_momentum=False),
    )

    metrics = [
        1.0,
        0.9,
        0.8,
        0.8,
        0.80001,
        0.79999,
        0.8,
        0.8,
        0.5,
        0.6,
        0.6,
        0.6,
        0.6,
        0.6,
        0.6,
        0.6,
        0.6,
        0.6,
        0.49,
        0.49,
        0.49,
        0.48999,
        0.49,
        0.49,
        0.49,
        0.49,
        0.1,
        0.1,
        0.1,
        0.1,
    ]
    for options in (
        dict(),
        dict(patience=2),
        dict(patience=2, factor=0.5, cooldown=3),
        dict(patience=1, threshold=0.2),
        dict(patience=1, threshold=0.05, threshold_mode='abs'),
        dict(mode='max', patience=3, factor=0.3),
        dict(patience=0, min_lr=0.004),
        dict(patience=0, factor=0.1, eps=1e-3),
    ):
        opt = make(0.1)
        schedule = s.ReduceLROnPlateau(opt, **options)
        lrs = [0.1]
        for m in metrics:
            schedule.step(m)
            lrs.append(opt.param_groups[0]['lr'])
        cases.append(
            {
                'schedule': 'ReduceLROnPlateau',
                'lr': 0.1,
                'options': {camel(k): v for k, v in options.items()},
                'metrics': metrics,
                'lrs': plain(lrs),
            }
        )
    write('schedules', cases)


# ---- modules ----


def modules():
    cases = []

    def put(name, args, options, module, inputs, state=None, mode='train', evalInput=None, dtype=F64):
        """The calls are made one after another (running statistics move); gradients of each call are listed."""
        calls = []
        module.train(mode == 'train')
        for x in inputs:
            x = x.clone().requires_grad_()
            module.zero_grad()
            y = module(x)
            if y.requires_grad:
                y.backward(cotangent(y))
            calls.append(
                {
                    'input': encode(x),
                    'output': encode(y),
                    'grad': encode(x.grad)['data'],
                    'parameterGrads': {n: encode(p.grad)['data'] for n, p in module.named_parameters()},
                }
            )
        case = {
            'module': name,
            'args': args,
            'options': plain(options),
            'dtype': NAMES[dtype],
            'parameters': {n: encode(p) for n, p in module.named_parameters()},
            'calls': calls,
            'buffers': {n: encode(b) for n, b in module.named_buffers()},
        }
        if evalInput is not None:
            module.eval()
            module.zero_grad()
            x = evalInput.clone().requires_grad_()
            y = module(x)
            y.backward(cotangent(y))
            case['eval'] = {
                'input': encode(x),
                'output': encode(y),
                'grad': encode(x.grad)['data'],
                'parameterGrads': {n: encode(p.grad)['data'] for n, p in module.named_parameters()},
            }
        cases.append(case)

    def t(dtype, *shape, **kw):
        return torch.tensor(rnd(*shape, **kw), dtype=dtype)

    def affine(m, dtype):
        with torch.no_grad():
            for p in m.parameters():
                p.copy_(t(dtype, *p.shape))
        return m

    for dtype in (F64, F32):
        for options in (
            {},
            {'eps': 1e-3, 'momentum': 0.3},
            {'affine': False},
            {'momentum': None},
            {'trackRunningStats': False},
        ):
            kw = {'track_running_stats' if k == 'trackRunningStats' else k: v for k, v in options.items()}
            m = affine(torch.nn.BatchNorm1d(3, dtype=dtype, **kw), dtype)
            put(
                'BatchNorm1d',
                [3],
                options,
                m,
                [t(dtype, 4, 3) for _ in range(3)],
                evalInput=t(dtype, 2, 3),
                dtype=dtype,
            )
        m = affine(torch.nn.BatchNorm1d(3, dtype=dtype), dtype)
        put(
            'BatchNorm1d',
            [3],
            {},
            m,
            [t(dtype, 2, 3, 4), t(dtype, 2, 3, 4)],
            evalInput=t(dtype, 1, 3, 2),
            dtype=dtype,
        )
        for options in ({}, {'eps': 1e-2}):
            m = affine(torch.nn.LayerNorm(4, dtype=dtype, **options), dtype)
            put('LayerNorm', [4], options, m, [t(dtype, 3, 4), t(dtype, 2, 2, 4)], dtype=dtype)
        m = affine(torch.nn.LayerNorm((2, 3), dtype=dtype), dtype)
        put('LayerNorm', [[2, 3]], {}, m, [t(dtype, 3, 2, 3)], dtype=dtype)
        m = torch.nn.LayerNorm(4, elementwise_affine=False, dtype=dtype)
        put('LayerNorm', [4], {'elementwiseAffine': False}, m, [t(dtype, 3, 4)], dtype=dtype)
        for n, m in (
            ('ReLU', torch.nn.ReLU()),
            ('Sigmoid', torch.nn.Sigmoid()),
            ('Tanh', torch.nn.Tanh()),
            ('GELU', torch.nn.GELU()),
            ('Flatten', torch.nn.Flatten()),
            ('Identity', torch.nn.Identity()),
        ):
            put(n, [], {}, m, [t(dtype, 2, 3, 2)], dtype=dtype)
        put('LeakyReLU', [0.2], {}, torch.nn.LeakyReLU(0.2), [t(dtype, 2, 3)], dtype=dtype)
        put('Softmax', [-1], {}, torch.nn.Softmax(-1), [t(dtype, 2, 3)], dtype=dtype)
        put('Dropout', [0.5], {}, torch.nn.Dropout(0.5), [t(dtype, 2, 3)], mode='eval', dtype=dtype)
    write('modules', cases)


# ---- initializers ----


class Recorder(torch.Tensor):
    """Remembers what it was asked to be filled with."""

    calls = []

    def uniform_(self, low=0.0, high=1.0):
        Recorder.calls.append({'low': float(low), 'high': float(high)})
        return self

    def normal_(self, mean=0.0, std=1.0):
        Recorder.calls.append({'mean': float(mean), 'std': float(std)})
        return self


def initializers():
    init = torch.nn.init
    cases = []
    for nonlinearity, param in (
        ('linear', None),
        ('sigmoid', None),
        ('tanh', None),
        ('relu', None),
        ('leaky_relu', None),
        ('leaky_relu', 0.2),
        ('selu', None),
    ):
        case = {
            'gain': nonlinearity if nonlinearity != 'leaky_relu' else 'leakyRelu',
            'value': number(init.calculate_gain(nonlinearity, param)),
        }
        if param is not None:
            case['param'] = param
        cases.append(case)

    def put(name, shape, options, **kw):
        t = torch.empty(*reversed(shape)).as_subclass(Recorder)  # PyTorch keeps [nOut, nIn]
        Recorder.calls.clear()
        getattr(init, name + '_')(t, **kw)
        cases.append(
            {'init': camel(name), 'shape': list(shape), 'options': options, 'fill': plain(Recorder.calls[-1])}
        )

    for shape in ((300, 100), (64, 256)):
        for name in ('xavier_uniform', 'xavier_normal'):
            put(name, shape, {})
            put(name, shape, {'gain': 2.5}, gain=2.5)
        for name in ('kaiming_uniform', 'kaiming_normal'):
            put(name, shape, {})
            put(name, shape, {'mode': 'fanOut'}, mode='fan_out')
            put(name, shape, {'nonlinearity': 'relu'}, nonlinearity='relu')
            put(name, shape, {'a': 0.3}, a=0.3)
            put(name, shape, {'a': 5**0.5}, a=5**0.5)
            put(name, shape, {'nonlinearity': 'tanh', 'mode': 'fanOut'}, nonlinearity='tanh', mode='fan_out')
    write('init', cases)


# ---- derivatives of functions ----


def derivatives():
    torch.manual_seed(0)
    labels = ints([1, 0, 3])
    scalar = {
        # name: (function of one tensor, input); the same functions are in derivatives.test.ts
        'tanhPoly': (lambda x: (torch.tanh(x) ** 3 * torch.exp(-x / 2)).sum(), rnd(3)),
        'rosenbrock': (lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(), rnd(4)),
        'entropy': (lambda x: -(F.softmax(x, -1) * F.log_softmax(x, -1)).sum(), rnd(4)),
        'crossEntropy': (lambda x: F.cross_entropy(x, labels), rnd(3, 4)),
        'bceWithLogits': (
            lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor([0, 1, 0.25], dtype=x.dtype)),
            rnd(3),
        ),
        'geluTimes': (lambda x: (F.gelu(x) * x).sum(), rnd(4)),
        'softplusLog': (lambda x: torch.log(1 + F.softplus(x)).sum() ** 2, rnd(3)),
        'logSumExp': (lambda x: torch.logsumexp(x * x, 0).sum(), rnd(3, 2)),
        'normed': (
            lambda x: (
                ((x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, correction=0, keepdim=True) + 1e-5)) ** 3
            ).sum(),
            rnd(2, 3),
        ),
        'normPow': (lambda x: torch.linalg.vector_norm(x) ** 3 / x.pow(2).sum(), rnd(4)),
        'stdOverMean': (lambda x: x.std() / x.mean(), rnd(4, low=0.5, high=2)),
        'matrix': (lambda x: (torch.tanh(x @ x.T) @ x).pow(2).mean(), rnd(3, 2)),
        'sigmoidProduct': (lambda x: torch.sigmoid(x).prod(), rnd(4)),
        'gathered': (
            lambda x: (x.index_select(0, ints([2, 0, 2])) * x).sum().exp() / 10,
            rnd(3, low=-0.5, high=0.5),
        ),
        'maxed': (
            lambda x: torch.maximum(x * x, torch.sin(x) + 1).sum() * x.max(),
            np.asarray([-1.5, 0.3, 1.2, 0.9]),
        ),
    }
    cases = []
    for name, (fn, value) in scalar.items():
        x = torch.tensor(value, dtype=F64)
        v = cotangent(x)
        value_out = fn(x)
        g = torch.autograd.functional.jacobian(fn, x)
        h = torch.autograd.functional.hessian(fn, x)
        hv = torch.autograd.functional.vhp(fn, x, v)[1]
        cases.append(
            {
                'function': name,
                'input': encode(x),
                'value': number(value_out.item()),
                'grad': encode(g)['data'],
                'hessian': encode(h),
                'hvp': encode(hv)['data'],
            }
        )
    vector = {
        'polar': (
            lambda x: torch.stack([x[0] * torch.cos(x[1]), x[0] * torch.sin(x[1]), x[0] * x[1]]),
            rnd(2),
        ),
        'softmax': (lambda x: F.softmax(x, -1), rnd(4)),
        'gram': (lambda x: x @ x.T, rnd(2, 3)),
        'cumulative': (lambda x: torch.stack([x[0], x[0] * x[1], x[0] * x[1] * x[2]]), rnd(3)),
    }
    for name, (fn, value) in vector.items():
        x = torch.tensor(value, dtype=F64)
        out = fn(x)
        u, v = cotangent(out), cotangent(x, 1)
        cases.append(
            {
                'function': name,
                'input': encode(x),
                'output': encode(out),
                'jacobian': encode(torch.autograd.functional.jacobian(fn, x)),
                'vjp': encode(torch.autograd.functional.vjp(fn, x, u)[1])['data'],
                'jvp': encode(torch.autograd.functional.jvp(fn, x, v)[1])['data'],
            }
        )
    # Up to the fourth derivative of scalar functions, by taking grad again.
    for name, fn in (
        ('tanh', torch.tanh),
        ('sigmoid', torch.sigmoid),
        ('exp', torch.exp),
        ('gelu', F.gelu),
        ('softplus', F.softplus),
        ('sin', torch.sin),
        ('log', torch.log),
        ('sqrt', torch.sqrt),
        ('erf', torch.erf),
        ('cube', lambda x: x**3),
    ):
        x = torch.tensor(rnd(4, low=0.2, high=2), dtype=F64).requires_grad_()
        y, rows = fn(x), []
        for _ in range(4):
            y = torch.autograd.grad(y.sum(), x, create_graph=True)[0]
            rows.append(encode(y)['data'])
        cases.append({'function': name, 'input': encode(x), 'orders': rows})
    # Several inputs, one of them a weight matrix: gradient of a squared gradient norm (a gradient penalty).
    x, w1, w2 = (torch.tensor(v, dtype=F64).requires_grad_() for v in (rnd(3, 2), rnd(2, 4), rnd(4, 1)))
    out = (torch.tanh(x @ w1) @ w2).sum()
    gx = torch.autograd.grad(out, x, create_graph=True)[0]
    penalty = (gx**2).sum()
    grads = torch.autograd.grad(penalty, [x, w1, w2])
    cases.append(
        {
            'function': 'gradientPenalty',
            'inputs': [encode(t) for t in (x, w1, w2)],
            'value': number(penalty.item()),
            'grads': [encode(t)['data'] for t in grads],
        }
    )
    write('derivatives', cases)


# ---- activations with their options ----


def activations():
    """Answers in float64, at kinks and far out; the inputs are exact in float32, so they serve both dtypes."""
    cases = []
    points = [-1e4, -64, -16, -5, -2, -1, -0.5, -0.125, -0.0, 0.0, 0.125, 0.5, 1, 2, 5, 16, 64, 1e4]

    def put(module, fn, options=None):
        x = torch.tensor(points, dtype=F64).requires_grad_()
        y = fn(x)
        (g,) = torch.autograd.grad((y * cotangent(y)).sum(), x)
        cases.append(
            {
                'module': module,
                'options': plain(options or {}),
                'input': encode(x),
                'output': encode(y),
                'grad': encode(g)['data'],
            }
        )

    put('ReLU', torch.relu)
    put('LeakyReLU', F.leaky_relu)
    put('LeakyReLU', lambda x: F.leaky_relu(x, 0.25), {'negativeSlope': 0.25})
    put('Sigmoid', torch.sigmoid)
    put('Tanh', torch.tanh)
    put('ELU', F.elu)
    put('ELU', lambda x: F.elu(x, 0.5), {'alpha': 0.5})
    put('SELU', F.selu)
    put('GELU', F.gelu)
    put('GELU', lambda x: F.gelu(x, approximate='tanh'), {'approximate': 'tanh'})
    put('SiLU', F.silu)
    # The threshold is where PyTorch's formula ends: far out, it takes no part.
    put('Softplus', lambda x: F.softplus(x, threshold=60))
    put('Softplus', lambda x: F.softplus(x, beta=2, threshold=120), {'beta': 2})
    put('Softplus', lambda x: F.softplus(x, beta=0.5, threshold=1), {'beta': 0.5, 'threshold': 1})
    put('Hardtanh', F.hardtanh)
    put('Softmax', lambda x: F.softmax(x, -1))
    put('LogSoftmax', lambda x: F.log_softmax(x, -1))
    put('Identity', lambda x: x * 1)
    write('activations', cases)


# ---- whitening ----


def whitening_data(kind):
    """Examples whose values are float32 numbers, so that both dtypes see the same."""
    values = Minstd(2024)
    if kind == 'correlated':  # 18 examples, 5 features that hang together, far from zero
        x = values.tensor((18, 5), F64).numpy() @ values.tensor((5, 5), F64, 2.0).numpy() + [3, -1, 100, 0.5, 0]
    elif kind == 'deficient':  # a constant feature, and one that is the sum of two others
        x = np.float32(values.tensor((14, 6), F64).numpy()).astype(float)
        x = np.round(x * 1024) / 1024
        x[:, 2] = 0.1
        x[:, 4] = x[:, 0] + x[:, 1]
    else:  # 'wide': fewer examples than features
        x = values.tensor((5, 8), F64).numpy()
    return np.float32(np.round(x * 1024) / 1024 if kind != 'deficient' else x).astype(float)


def whitening():
    """PCA and ZCA whitening from NumPy's eigenvalues of the covariance, in float64 (lecture 001)."""
    cases = []
    for kind, options in (
        ('correlated', {}),
        ('correlated', {'correction': 1}),
        ('correlated', {'nComponents': 3}),
        ('correlated', {'retainedVariance': 0.9}),
        ('correlated', {'eps': 0.25}),
        ('correlated', {'nComponents': 2, 'retainedVariance': 0.99, 'eps': 0.01, 'correction': 1}),
        ('deficient', {}),
        ('deficient', {'eps': 0.125}),
        ('deficient', {'tolerance': 0.2}),
        ('wide', {}),
        ('wide', {'nComponents': 2}),
    ):
        x = whitening_data(kind)
        n, p = x.shape
        mean = x.mean(0)
        centred = x - mean
        d, e = np.linalg.eigh(centred.T @ centred / (n - options.get('correction', 0)))
        d, e = d[::-1], e[:, ::-1]
        kept = d > options.get('tolerance', 1e-12) * d[0]
        k = int(kept.sum())
        assert kept[:k].all()
        share = np.cumsum(d) / d.sum()
        if 'retainedVariance' in options:
            k = min(k, int(np.argmax(share >= options['retainedVariance'])) + 1)
        k = min(k, options.get('nComponents', p))
        d, e = d[:k], e[:, :k]
        # No two largest entries of an eigenvector are near each other here, so the sign rule is clear.
        largest = np.argmax(np.abs(e), axis=0)
        e = e * np.sign(e[largest, np.arange(k)])
        scale = np.sqrt(d + options.get('eps', 0))
        pca = centred @ e / scale
        zca = pca @ e.T
        back = pca * scale @ e.T + mean
        cases.append(
            {
                'kind': kind,
                'options': options,
                'x': encode(torch.tensor(x)),
                'mean': encode(torch.tensor(mean)),
                'components': encode(torch.tensor(e.T.copy())),
                'explainedVariance': encode(torch.tensor(d.copy())),
                'ratio': [number(v) for v in d / np.trace(centred.T @ centred) * (n - options.get('correction', 0))],
                'pca': encode(torch.tensor(pca)),
                'zca': encode(torch.tensor(zca)),
                'back': encode(torch.tensor(back)),
            }
        )
    write('whitening', cases)


# ---- second order and analysis ----


def analysis():
    """A small network with its Taylor expansion, Hessian and norms; Newton's method; gradient descent on a quadratic."""
    rng = np.random.RandomState(61)  # of its own: the other files stay as they are
    draw = lambda *shape, scale=1.0: torch.tensor(np.round(rng.uniform(-1, 1, shape) * scale, 3), dtype=F64)
    listed = lambda t: [number(v) for v in np.asarray(t, dtype=np.float64).reshape(-1)]
    cases = []

    # A network 3-4-2 with tanh; parameters in the order w1, b1, w2, b2.
    shapes = [(3, 4), (4,), (4, 2), (2,)]
    sizes = [int(np.prod(s)) for s in shapes]
    x, other, y = draw(5, 3, scale=2), draw(2, 3, scale=2), draw(5, 2)
    theta, delta = draw(sum(sizes)), draw(sum(sizes), scale=0.3)

    def parts(t):
        return [p.reshape(s) for p, s in zip(torch.split(t, sizes), shapes)]

    def net(t, inputs):
        w1, b1, w2, b2 = parts(t)
        return torch.tanh(inputs @ w1 + b1) @ w2 + b2

    def loss(t):
        return ((net(t, x) - y) ** 2).mean()

    features = torch.autograd.functional.jacobian(lambda t: net(t, x), theta)
    features2 = torch.autograd.functional.jacobian(lambda t: net(t, other), theta)
    outputs = net(theta, x)
    curved = torch.stack(
        [
            delta @ torch.autograd.functional.hessian(lambda t, k=k: net(t, x).reshape(-1)[k], theta) @ delta
            for k in range(outputs.numel())
        ]
    ).reshape(outputs.shape)
    first = outputs + features @ delta
    flat, flat2 = features.reshape(-1, sum(sizes)), features2.reshape(-1, sum(sizes))
    h = torch.autograd.functional.hessian(loss, theta)
    g = torch.autograd.functional.jacobian(loss, theta)
    shift = 2.0  # more than the lowest eigenvalue is below zero
    step = np.linalg.solve(h.numpy() + shift * np.eye(len(theta)), g.numpy())
    # The same network layer by layer, for the norms.
    w1, b1, w2, b2 = (p.detach().clone().requires_grad_() for p in parts(theta))
    layers = [x @ w1 + b1]
    layers.append(torch.tanh(layers[0]))
    layers.append(layers[1] @ w2 + b2)
    for z in layers:
        z.retain_grad()
    ((layers[2] - y) ** 2).mean().backward()
    cases.append(
        {
            'case': 'network',
            'x': encode(x),
            'other': encode(other),
            'y': encode(y),
            'parameters': [encode(p.contiguous()) for p in parts(theta)],
            'delta': encode(delta),
            'output': encode(outputs),
            'features': encode(features),
            'kernel': encode(flat @ flat.T),
            'kernelOther': encode(flat @ flat2.T),
            'exact': encode(net(theta + delta, x)),
            'linear': encode(first),
            'quadratic': encode(first + curved / 2),
            'loss': number(loss(theta)),
            'hessian': encode((h + h.T) / 2),
            'eigenvalues': listed(np.linalg.eigvalsh(((h + h.T) / 2).numpy())),
            'hvp': listed(h @ delta),
            'regularization': shift,
            'newton': listed(theta.numpy() - step),
            'activationNorms': listed([z.norm().item() for z in layers]),
            'gradientNorms': listed([z.grad.norm().item() for z in layers]),
            'parameterGradientNorms': listed([p.grad.norm().item() for p in (w1, b1, w2, b2)]),
        }
    )

    # Logistic regression with an L2 penalty: Newton's method in NumPy, full and damped.
    a = np.round(rng.uniform(-2, 2, (12, 3)), 3)
    labels = (rng.uniform(size=12) < 0.5).astype(float)
    penalty = 0.1
    for alpha in (1.0, 0.5):
        w, path = np.zeros(3), []
        for _ in range(4):
            p = 1 / (1 + np.exp(-a @ w))
            grad = a.T @ (p - labels) + penalty * w
            hess = (a.T * (p * (1 - p))) @ a + penalty * np.eye(3)
            w = w - alpha * np.linalg.solve(hess, grad)
            path.append(listed(w))
        cases.append(
            {
                'case': 'logistic',
                'x': encode(torch.tensor(a)),
                'labels': listed(labels),
                'penalty': penalty,
                'stepSize': alpha,
                'path': path,
            }
        )

    # Gradient descent on a quadratic with known eigenvalues.
    q, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    m = q @ np.diag([0.4, 0.9, 1.5, 2.0, 4.0]) @ q.T
    m = (m + m.T) / 2
    b = np.round(rng.uniform(-1, 1, 5), 3)
    best = np.linalg.solve(m, b)
    eigenvalues = np.linalg.eigvalsh(m)
    for lr in (2 / (eigenvalues[0] + eigenvalues[-1]), 0.1, 0.55):
        w = np.round(rng.uniform(-1, 1, 5), 3)
        start, distances = w, [np.linalg.norm(w - best)]
        for _ in range(60):
            w = w - lr * (m @ w - b)
            distances.append(np.linalg.norm(w - best))
        cases.append(
            {
                'case': 'quadratic',
                'A': encode(torch.tensor(m)),
                'b': listed(b),
                'minimizer': listed(best),
                'eigenvalues': listed(eigenvalues),
                'conditionNumber': number(np.linalg.cond(m)),
                'lr': number(lr),
                'start': listed(start),
                'distances': listed(distances),
            }
        )
    write('analysis', cases)


if __name__ == '__main__':
    ops()
    promotion()
    losses()
    optimizers()
    training()
    schedules()
    modules()
    initializers()
    derivatives()
    activations()
    analysis()
    whitening()
