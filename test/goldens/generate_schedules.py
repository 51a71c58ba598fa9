"""Makes combinedSchedules.json, averages.json and clipping.json: what PyTorch 2 answers where generate.py's version has no answer.

    pip install torch                                       # 2.6 or newer; the numbers are from 2.13
    python test/goldens/generate_schedules.py

The files are data: no test runs this script. README.md describes their format.
"""

import math

import torch
from generate import F32, F64, camel, encode, number, plain, write

# Of torch 1.13's generate.py only the helpers are used.
PARAM_SHAPES = [(3, 4), (4,), (2, 2)]

s = torch.optim.lr_scheduler


def values(k, step, dtype):
    """Numbers of tensor k at step `step`: exact in float32, with changing signs."""
    shape = PARAM_SHAPES[k]
    data = [((7 * i + 5 * step + 3 * k) % 13 - 6) / 8 * 2.0 ** -(step % 4) for i in range(math.prod(shape))]
    return torch.tensor(data, dtype=dtype).reshape(shape)


FUNCTIONS = {
    'inverse': lambda t: 1 / (1 + t),
    'halves': lambda t: 0.5**t,
    'wave': lambda t: 1 + 0.25 * (t % 3),
    'warmup5': lambda t: min(1.0, t / 5),
    # transformers' get_cosine_schedule_with_warmup: 5 steps up from 0, half a cosine over the 15 that follow.
    'warmupCosine': lambda t: t / 5 if t < 5 else max(0.0, 0.5 * (1 + math.cos(math.pi * (t - 5) / 15))),
}


def fn(name):
    return {'fn': name}


def build(spec, opt):
    cls, options = spec
    given = {}
    for key, value in options.items():
        if isinstance(value, dict) and 'fn' in value:
            value = FUNCTIONS[value['fn']]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            value = [FUNCTIONS[v['fn']] for v in value]
        elif key == 'schedulers':
            value = [build(v, opt) for v in value]
        given[key] = value
    if cls is s.ChainedScheduler:
        return cls(given['schedulers'])
    return cls(opt, **given)


RENAMED = {'T_max': 'tMax', 'T_0': 't0', 'T_mult': 'tMult'}


def show(spec):
    cls, options = spec
    out = {}
    for key, value in options.items():
        if key == 'schedulers':
            value = [show(v) for v in value]
        out[RENAMED.get(key, camel(key))] = value
    return {'schedule': cls.__name__, 'options': plain(out)}


def schedules():
    cases = []

    def put(spec, optimizer='SGD', lrs=(0.1,), steps=24, epochs=None, metrics=None, ours=None):
        """`epochs` are given to step(); `ours` is the schedule of ours that is to have the numbers of `spec`."""
        params = [torch.zeros(1, requires_grad=True) for _ in lrs]
        groups = [{'params': [p], 'lr': lr} for p, lr in zip(params, lrs)]
        opt = torch.optim.Adam(groups) if optimizer == 'Adam' else torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        schedule = build(spec, opt)
        seen, momenta = [], []

        def look():
            seen.append([g['lr'] for g in opt.param_groups])
            momenta.append([g['betas'][0] if 'betas' in g else g['momentum'] for g in opt.param_groups])

        look()
        for k in range(len(epochs or metrics or range(steps))):
            opt.step()
            if metrics is not None:
                schedule.step(metrics[k])
            elif epochs is not None and epochs[k] is not None:
                schedule.step(epochs[k])
            else:
                schedule.step()
            look()
        case = {**(ours or show(spec)), 'optimizer': optimizer, 'groups': list(lrs), 'lrs': plain(seen)}
        if any(m != momenta[0] for m in momenta) or momenta[0][0] != 0.9:
            case['momenta'] = plain(momenta)
        if epochs is not None:
            case['epochs'] = epochs
        if metrics is not None:
            case['metrics'] = metrics
        cases.append(case)

    two = (0.1, 0.5)
    # The single ones once more, with two groups.
    for spec in [
        (s.StepLR, dict(step_size=5, gamma=0.5)),
        (s.MultiStepLR, dict(milestones=[0, 4, 4, 9], gamma=0.5)),
        (s.ExponentialLR, dict(gamma=0.8)),
        (s.CosineAnnealingLR, dict(T_max=9, eta_min=0.02)),
        (s.LinearLR, dict(start_factor=0.25, total_iters=6)),
        (s.ConstantLR, dict(factor=0.5, total_iters=6)),
        (s.PolynomialLR, dict(total_iters=12, power=1.5)),
        (s.LambdaLR, dict(lr_lambda=[fn('inverse'), fn('halves')])),
        (s.MultiplicativeLR, dict(lr_lambda=fn('wave'))),
        (s.CosineAnnealingWarmRestarts, dict(T_0=4, T_mult=2, eta_min=0.01)),
        (s.CyclicLR, dict(base_lr=[0.01, 0.02], max_lr=[0.1, 0.3], step_size_up=4, step_size_down=3,
                          base_momentum=[0.7, 0.75], max_momentum=[0.9, 0.95])),
        (s.CyclicLR, dict(base_lr=0.01, max_lr=0.1, step_size_up=3, scale_fn=fn('inverse'), scale_mode='cycle')),
        (s.CyclicLR, dict(base_lr=0.01, max_lr=0.1, step_size_up=3, scale_fn=fn('halves'), scale_mode='iterations',
                          cycle_momentum=False)),
        # Stepped as often as the cycle has steps, which is what a loop does.
        (s.OneCycleLR, dict(max_lr=[0.5, 1.0], total_steps=24, base_momentum=[0.8, 0.7], max_momentum=[0.9, 0.99])),
        (s.OneCycleLR, dict(max_lr=0.5, epochs=4, steps_per_epoch=6, anneal_strategy='linear', three_phase=True)),
    ]:
        put(spec, lrs=two)
    put((s.OneCycleLR, dict(max_lr=0.5, total_steps=24)), optimizer='Adam')
    put((s.CyclicLR, dict(base_lr=0.01, max_lr=0.1, step_size_up=4, mode='triangular2')), optimizer='Adam')
    put((s.CosineAnnealingWarmRestarts, dict(T_0=4, T_mult=2)),
        epochs=[0.25, 0.5, 0.75, 1.0, 3.5, 4.0, 5.25, None, None, 20.5, None, 2.5, None])
    put((s.CosineAnnealingWarmRestarts, dict(T_0=4)), epochs=[0.5, 1.0, 4.5, None, None, None, None, 11.5])
    put((s.ReduceLROnPlateau, dict(patience=1, factor=0.5, min_lr=[0.04, 0.1])), lrs=two,
        metrics=[1.0, 1.0, 1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])

    # One after the other.
    def sequence(*parts, milestones):
        return (s.SequentialLR, dict(schedulers=list(parts), milestones=list(milestones)))

    constant = (s.ConstantLR, dict(factor=0.1, total_iters=6))
    linear = (s.LinearLR, dict(start_factor=0.1, total_iters=5))
    exponential = (s.ExponentialLR, dict(gamma=0.9))
    cosine = (s.CosineAnnealingLR, dict(T_max=12, eta_min=0.01))
    step = (s.StepLR, dict(step_size=3, gamma=0.5))
    for spec in [
        sequence(constant, exponential, milestones=[6]),
        sequence(linear, cosine, milestones=[5]),
        sequence(linear, step, exponential, milestones=[3, 11]),
        sequence((s.PolynomialLR, dict(total_iters=8, power=2.0)), (s.CosineAnnealingWarmRestarts, dict(T_0=3, T_mult=2)),
                 milestones=[7]),
        sequence((s.LambdaLR, dict(lr_lambda=fn('inverse'))), (s.MultiplicativeLR, dict(lr_lambda=fn('wave'))),
                 milestones=[4]),
        sequence((s.MultiStepLR, dict(milestones=[2, 3])), linear, milestones=[5]),
        sequence(exponential, (s.CyclicLR, dict(base_lr=0.02, max_lr=0.2, step_size_up=3)), milestones=[4]),
        sequence(exponential, (s.OneCycleLR, dict(max_lr=0.5, total_steps=18)), milestones=[6]),
        sequence(exponential, constant, milestones=[0]),
        sequence(exponential, step, constant, milestones=[4, 4]),
        sequence(linear, milestones=[]),
    ]:
        put(spec, lrs=two)

    # At the same time.
    for parts in [
        [constant, exponential],
        [linear, step, exponential],
        [(s.MultiStepLR, dict(milestones=[4, 9], gamma=0.5)), (s.PolynomialLR, dict(total_iters=20))],
        [linear, cosine],
        [linear, (s.MultiplicativeLR, dict(lr_lambda=fn('wave')))],
    ]:
        put((s.ChainedScheduler, dict(schedulers=parts)), lrs=two)

    # Warm-up.
    after = {'schedule': 'CosineAnnealingLR', 'options': {'tMax': 12, 'etaMin': 0.01}}
    put(sequence(linear, cosine, milestones=[5]), lrs=two,
        ours={'schedule': 'WarmupLR', 'options': {'warmupSteps': 5, 'startFactor': 0.1, 'after': after}})
    put((s.LambdaLR, dict(lr_lambda=fn('warmup5'))), lrs=two,
        ours={'schedule': 'WarmupLR', 'options': {'warmupSteps': 5}})
    put((s.LambdaLR, dict(lr_lambda=fn('warmupCosine'))), lrs=two, steps=20,
        ours={'schedule': 'WarmupLR', 'options': {'warmupSteps': 5, 'after': {
            'schedule': 'CosineAnnealingLR', 'options': {'tMax': 15}}}})
    write('combinedSchedules', cases, torch=torch.__version__)


def averages():
    """swa_utils.AveragedModel over parameters that follow the formula of optimizers.json's gradients, summed up."""
    cases = []
    for dtype in (F32, F64):
        for decay in (0.9, 0.999, 0.0, 0.5, 1.0):
            model = torch.nn.ParameterList([torch.nn.Parameter(values(k, 0, dtype)) for k in range(3)])
            average = torch.optim.swa_utils.AveragedModel(
                model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
            )
            average.update_parameters(model)  # the first one copies
            after = {}
            for t in range(1, 31):
                with torch.no_grad():
                    for k, p in enumerate(model):
                        p.add_(values(k, t, dtype))
                average.update_parameters(model)
                if t in (1, 2, 10, 30):
                    after[t] = [encode(p)['data'] for p in average.module]
            cases.append({'dtype': 'float32' if dtype == F32 else 'float64', 'decay': decay, 'after': after})
    write('averages', cases, torch=torch.__version__, initial=[encode(values(k, 0, F64)) for k in range(3)],
          changes=[[encode(values(k, t, F64))['data'] for k in range(3)] for t in range(1, 31)])


def clipping():
    u = torch.nn.utils
    cases = []
    for dtype in (F32, F64):
        for special in (None, 'inf', 'nan'):
            for norm_type in (2.0, 1.0, float('inf'), float('-inf'), 3.0, 0.5):
                for max_norm in (0.5, 2.0, 100.0):
                    if special is not None and (max_norm != 2.0 or norm_type not in (2.0, 1.0, float('inf'))):
                        continue
                    params = [torch.nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in PARAM_SHAPES]
                    params.append(torch.nn.Parameter(torch.zeros(3, dtype=dtype)))  # has no gradient
                    grads = [values(k, 1, dtype) * 3 + 0.125 for k in range(3)]
                    if special is not None:
                        grads[1][2] = float(special)
                    for p, g in zip(params, grads):
                        p.grad = g.clone()
                    total = u.clip_grad_norm_(params, max_norm, norm_type)
                    refused = False
                    try:
                        u.get_total_norm(grads, norm_type, error_if_nonfinite=True)
                    except RuntimeError:
                        refused = True
                    cases.append({
                        'dtype': 'float32' if dtype == F32 else 'float64',
                        'grads': [encode(g) for g in grads],
                        'normType': number(norm_type),
                        'maxNorm': max_norm,
                        'total': number(total.item(), dtype == F32),
                        'after': [encode(p.grad)['data'] for p in params[:3]],
                        'refused': refused,
                    })
        for limit in (0.0, 0.25, 1.0):
            params = [torch.nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in PARAM_SHAPES]
            grads = [values(k, 1, dtype) * 3 + 0.125 for k in range(3)]
            grads[0][0, 1] = float('nan')
            grads[0][1, 0] = float('-inf')
            for p, g in zip(params, grads):
                p.grad = g.clone()
            u.clip_grad_value_(params, limit)
            cases.append({
                'dtype': 'float32' if dtype == F32 else 'float64',
                'grads': [encode(g) for g in grads],
                'limit': limit,
                'after': [encode(p.grad)['data'] for p in params],
            })
    write('clipping', cases, torch=torch.__version__)


if __name__ == '__main__':
    schedules()
    averages()
    clipping()
