"""A peer of npm run bench:peers: PyTorch. Usage: python3 torch_peer.py THREADS

The protocol is that of serve.mjs. Variants: how the optimizer runs (loop, foreach, fused), and
torch.compile of the passes (compile) or of the optimizer too (compile-all).
"""

import re
import sys
import time


def reply(text):
    print("> " + text, flush=True)


def blas_name(torch):
    """The BLAS that PyTorch uses: the one it was built with, or the library behind libblas.so.3."""
    built = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    if built and built.group(1) == "mkl":
        return "MKL"
    with open("/proc/self/maps", encoding="utf8") as maps:
        text = maps.read()
    # Debian's alternatives of libblas.so.3 lie in folders of their own.
    if re.search(r"/blis[^/]*/libblas", text):
        return "BLIS"
    return "OpenBLAS" if "openblas" in text else "its own BLAS"


def operations(torch, rows, columns):
    """The entries of operations.ts with the names that they have there, and the leaves of backward()."""
    F = torch.nn.functional
    n = rows * columns

    def uniform(count, prime):
        i = torch.arange(count, dtype=torch.float64)
        return ((i * 4099) % prime + 0.5) / prime

    def nearly_normal(primes):
        return (2 * (sum(uniform(n, prime) for prime in primes) - 1.5)).float().view(rows, columns)

    x = nearly_normal([10007, 9973, 9629])
    y = nearly_normal([10009, 9967, 9631])
    positive = uniform(n, 9973).float().view(rows, columns)
    row = uniform(columns, 10007).float()
    labels = 37 * torch.arange(rows) % columns
    order = 7 * torch.arange(rows) % rows
    layer_norm = torch.nn.LayerNorm(columns)
    batch_norm = torch.nn.BatchNorm1d(columns)
    table = {
        "relu": lambda: torch.relu(x),
        "leakyRelu": lambda: F.leaky_relu(x),
        "sigmoid": lambda: torch.sigmoid(x),
        "tanh": lambda: torch.tanh(x),
        "gelu": lambda: F.gelu(x),
        "silu": lambda: F.silu(x),
        "elu": lambda: F.elu(x),
        "softplus": lambda: F.softplus(x),
        "exp": lambda: torch.exp(x),
        "log": lambda: torch.log(positive),
        "sqrt": lambda: torch.sqrt(positive),
        "sin": lambda: torch.sin(x),
        "pow(3)": lambda: x.pow(3),
        "pow(2.5)": lambda: positive.pow(2.5),
        "add": lambda: x + y,
        "add(row)": lambda: x + row,
        "mul": lambda: x * y,
        "div": lambda: x / positive,
        "maximum": lambda: torch.maximum(x, y),
        "clamp": lambda: x.clamp(-1, 1),
        "where(x>0)": lambda: torch.where(x > 0, x, y),
        "sum": lambda: x.sum(),
        "sum(0)": lambda: x.sum(0),
        "sum(1)": lambda: x.sum(1),
        "mean": lambda: x.mean(),
        # amax, as max(axis) of PyTorch finds the indices too.
        "max(0)": lambda: x.amax(0),
        "max(1)": lambda: x.amax(1),
        "argmax(1)": lambda: x.argmax(1),
        "var(1)": lambda: x.var(1),
        "norm": lambda: x.norm(),
        "softmax(1)": lambda: x.softmax(1),
        "softmax(0)": lambda: x.softmax(0),
        "logSoftmax(1)": lambda: x.log_softmax(1),
        "logSumExp(1)": lambda: x.logsumexp(1),
        "cumsum(1)": lambda: x.cumsum(1),
        "transpose().clone()": lambda: x.t().contiguous(),
        "concat(0)": lambda: torch.cat([x, y], 0),
        "indexSelect(0)": lambda: x.index_select(0, order),
        "randn": lambda: torch.randn(rows, columns),
        "dropout": lambda: F.dropout(x, 0.5),
        "layerNorm": lambda: layer_norm(x),
        "batchNorm1d": lambda: batch_norm(x),
        "crossEntropy": lambda: F.cross_entropy(x, labels),
        "mseLoss": lambda: F.mse_loss(x, y),
        "bceWithLogits": lambda: F.binary_cross_entropy_with_logits(x, positive),
        "huberLoss": lambda: F.huber_loss(x, y),
    }
    return table, [x, *layer_norm.parameters(), *batch_norm.parameters()]


def operation(torch, name, backward, rows, columns):
    """A call of an operation, and what it computes, for comparing (operationCall of operations.ts)."""
    table, leaves = operations(torch, rows, columns)
    if name not in table:
        raise KeyError(f"torch_peer.py has no operation {name}")
    call = table[name]

    def weigh(t):
        values = t.detach().double().abs().flatten()
        return float((values * (torch.arange(len(values)) % 97 + 1)).mean())

    def describe(t):
        return f"{'x'.join(str(n) for n in t.shape) or 'scalar'} {weigh(t)!r}"

    if not backward:
        # Gradients are off while it is measured (make): entering no_grad in every call would cost it a microsecond.
        return call, describe(call())
    x = leaves[0]
    x.requires_grad_()
    first = call()
    scalar = first.dim() == 0
    (first if scalar else first.sum()).backward()
    answer = f"{describe(first)} {weigh(x.grad)!r}"
    leaves = [leaf for leaf in leaves if leaf.grad is not None]
    for leaf in leaves:
        leaf.grad = None

    def run():
        y = call()
        (y if scalar else y.sum()).backward()
        for leaf in leaves:
            leaf.grad = None

    return run, answer


def main():
    threads = int(sys.argv[1])
    try:
        import torch
        from torch.nn import functional as F
    except Exception as error:  # a broken installation counts as none
        reply(f"missing\t{type(error).__name__}: {error}".replace("\n", " "))
        return
    torch.set_num_threads(threads)
    torch.manual_seed(1)

    def network(sizes):
        layers = []
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:])):
            layers.append(torch.nn.Linear(n_in, n_out))
            if i + 2 < len(sizes):
                layers.append(torch.nn.ReLU())
        return torch.nn.Sequential(*layers)

    def optimizer(kind, parameters, variant):
        how = {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}.get(variant, {})
        if kind == "adam":
            return torch.optim.Adam(parameters, lr=1e-3, **how)
        return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, **how)

    def make(kind, args, variant):
        torch.set_grad_enabled(kind != "operation" or args[1] == "backward")
        if kind == "operation":
            return operation(torch, args[0], args[1] == "backward", int(args[2]), int(args[3]))
        if kind == "product":
            m, n, k = (int(a) for a in args[:3])
            a = torch.randn(k, m).T if args[3][0] == "T" else torch.randn(m, k)
            b = torch.randn(n, k).T if args[3][1] == "T" else torch.randn(k, n)
            return lambda: torch.mm(a, b)
        if kind == "optimizer":
            p = torch.randn(int(args[1]), requires_grad=True)
            p.grad = torch.randn(int(args[1]))
            return optimizer(args[0], [p], variant).step
        sizes = [int(s) for s in args[0].split(",")]
        batch = int(args[1])
        model = network(sizes)
        x = torch.randn(batch, sizes[0])
        if kind == "forward":
            model.eval()
            run = torch.compile(model) if variant == "compile" else model

            def forward():
                with torch.inference_mode():
                    run(x)

            return forward
        y = torch.randint(0, sizes[-1], (batch,))

        def loss_of():
            return F.cross_entropy(model(x), y)

        if variant.startswith("compile"):
            loss_of = torch.compile(loss_of)
        # With "compile" the fused optimizer follows the compiled passes; with "compile-all" it is compiled too.
        adam = optimizer("adam", model.parameters(), "fused" if variant == "compile" else variant)
        update = torch.compile(adam.step) if variant == "compile-all" else adam.step

        def step():
            adam.zero_grad(set_to_none=True)
            loss_of().backward()
            update()

        return step

    cases = {}
    reply(f"ready\t{torch.__version__}, {blas_name(torch)}")
    for line in sys.stdin:
        words = line.split()
        try:
            if words[0] == "make":
                variant = words[-1]
                made = make(words[2], words[3:-1], variant)
                run, answer = made if isinstance(made, tuple) else (made, "")
                run()
                cases[words[1]] = run
                reply(f"ok\t{answer}" if answer else "ok")
            elif words[0] == "time":
                run = cases[words[1]]
                calls = int(words[2])
                start = time.perf_counter()
                for _ in range(calls):
                    run()
                reply(f"{time.perf_counter() - start:.9f}")
            elif words[0] == "clear":
                cases.clear()
                reply("ok")
            else:
                reply("no\tnot a command")
        except Exception as error:  # the driver shows why a variant is not there
            reply(f"no\t{type(error).__name__}: {error}".replace("\n", " ")[:300])


main()
