"""Makes optimizerOptions.json: every option of PyTorch 2's first-order optimizers, also together.

    python3 test/goldens/generate_optimizers.py       # any PyTorch from 2.6 on; the file is from 2.13

The file is data: no test runs this script. README.md describes the format, which is that of optimizers.json.
"""

import torch

from generate import F32, F64, NAMES, PARAM_SHAPES, camel, encode, gradient, initial, plain, write

PLANS = {
    'SGD': [
        dict(lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.1),
        dict(lr=0.1, momentum=0.8, nesterov=True, maximize=True, weight_decay=0.1),
        dict(lr=0.1, momentum=0.9, maximize=True),
    ],
    'Adam': [
        dict(lr=0.05, decoupled_weight_decay=True, weight_decay=0.1),
        dict(lr=0.05, decoupled_weight_decay=True, weight_decay=0.1, amsgrad=True, maximize=True),
        dict(lr=0.05, maximize=True, weight_decay=0.1),
        dict(lr=0.05, amsgrad=True, weight_decay=0.1),
        dict(lr=0.05, betas=(0.0, 0.0), eps=1e-3),
        dict(lr=0.05, betas=(0.9, 0.0), eps=1e-3),
        dict(lr=0.05, eps=1e-6),
    ],
    'AdamW': [
        dict(lr=0.05, amsgrad=True, maximize=True, weight_decay=0.2),
        dict(lr=0.05, betas=(0.0, 0.9), weight_decay=0.1),
    ],
    'RMSprop': [
        dict(lr=0.02, maximize=True, weight_decay=0.1, momentum=0.9),
        dict(lr=0.02, maximize=True, weight_decay=0.1, centered=True, eps=1e-2),
        dict(lr=0.02, alpha=0.0, eps=1e-2),
        dict(lr=0.02, alpha=0.5, centered=True, momentum=0.9, maximize=True),
    ],
    'Rprop': [
        dict(lr=0.05, etas=(0.5, 1.2), step_sizes=(1e-3, 0.08)),
        dict(lr=0.05, etas=(0.3, 1.7), step_sizes=(1e-2, 0.1), maximize=True),
    ],
    'Adagrad': [
        dict(lr=0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.2, eps=1e-3, maximize=True),
        dict(lr=0.1, weight_decay=0.1, maximize=True),
    ],
    'Adadelta': [
        dict(lr=0.5, rho=0.5, weight_decay=0.1, eps=1e-3, maximize=True),
        dict(rho=0.0, eps=1e-2),
    ],
    'Adamax': [
        dict(lr=0.05, weight_decay=0.1, maximize=True),
        dict(lr=0.02, betas=(0.5, 0.7), weight_decay=0.1, eps=1e-3, maximize=True),
    ],
    'NAdam': [
        dict(lr=0.05, maximize=True),
        dict(lr=0.05, weight_decay=0.1, maximize=True),
        dict(lr=0.05, weight_decay=0.1, decoupled_weight_decay=True),
        dict(lr=0.05, weight_decay=0.1, decoupled_weight_decay=True, momentum_decay=0.1, maximize=True),
        dict(lr=0.05, betas=(0.0, 0.5), eps=1e-3),
    ],
    'RAdam': [
        dict(lr=0.05, maximize=True),
        dict(lr=0.05, weight_decay=0.1, maximize=True),
        dict(lr=0.05, weight_decay=0.1, decoupled_weight_decay=True),
        dict(lr=0.05, betas=(0.5, 0.9), weight_decay=0.1, decoupled_weight_decay=True, maximize=True),
        dict(lr=0.05, betas=(0.0, 0.5), eps=1e-3),
    ],
}
# Rates set before a step, for the optimizers that optimizers.json lets alone.
CHANGES = {4: 0.02, 11: 0.2}
CHANGED = {
    'RMSprop': dict(lr=0.05, momentum=0.5),
    'Rprop': dict(lr=0.05),
    'Adagrad': dict(lr=0.05, lr_decay=0.1),
    'Adadelta': dict(lr=0.5),
    'Adamax': dict(lr=0.05),
    'NAdam': dict(lr=0.05, weight_decay=0.1, decoupled_weight_decay=True),
    # With β2 = 0.999 its rectification cancels 2000 against 1995, and amplifies the last digit of 0.999^t.
    'RAdam': dict(lr=0.05, betas=(0.9, 0.98), weight_decay=0.1, decoupled_weight_decay=True),
}


def run(name, options, dtype, changes=None, groups=None):
    params = [initial(k, dtype).requires_grad_() for k in range(2)]
    arg = params if groups is None else [{'params': [p], **g} for p, g in zip(params, groups)]
    optimizer = getattr(torch.optim, name)(arg, **options, foreach=False)
    after = {}
    for step in range(1, 31):
        if changes and step in changes:
            for g in optimizer.param_groups:
                g['lr'] = changes[step]
        for k, p in enumerate(params):
            p.grad = gradient(k, step, dtype)
        optimizer.step()
        if step in (1, 2, 10, 30):
            after[str(step)] = [encode(p)['data'] for p in params]
    case = {'optimizer': name, 'dtype': NAMES[dtype], 'options': plain({camel(k): v for k, v in options.items()})}
    if groups:
        case['groups'] = plain([{camel(k): v for k, v in g.items()} for g in groups])
    if changes:
        case['lrChanges'] = {str(k): v for k, v in changes.items()}
    return {**case, 'after': after}


if __name__ == '__main__':
    cases = []
    for dtype in (F64, F32):
        for name, plans in PLANS.items():
            cases += [run(name, options, dtype) for options in plans]
        for name, options in CHANGED.items():
            cases.append(run(name, options, dtype, changes=CHANGES))
            if name != 'Rprop':
                groups = [dict(lr=0.01), dict(weight_decay=0.3, maximize=True)]
                cases.append(run(name, options, dtype, groups=groups))
    write(
        'optimizerOptions',
        cases,
        torch=torch.__version__,
        shapes=[list(s) for s in PARAM_SHAPES],
        initial='((5*i + 3*k) mod 17 - 8) / 16 + 1/32 for element i of parameter k',
        gradient='((7*i + 5*step + 3*k) mod 13 - 6) / 8 * 2^-(step mod 4) before step `step`, counted from 1',
    )
