"""A peer of npm run bench:peers: PyTorch. Usage: python3 torch_peer.py THREADS

The protocol is that of serve.mjs. Variants: how the optimizer runs (loop, foreach, fused), and torch.compile.
"""

import re
import sys
import time


def reply(text):
    print("> " + text, flush=True)


def blas_name():
    """The BLAS that answers in this process, from the libraries that are mapped."""
    with open("/proc/self/maps", encoding="utf8") as maps:
        text = maps.read()
    # The library behind libblas.so.3 is chosen by the folder it was found in.
    if re.search(r"/blis[^/]*/libblas", text):
        return "BLIS"
    if "libmkl" in text:
        return "MKL"
    return "OpenBLAS" if "openblas" in text else "its own BLAS"


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
    modern = hasattr(torch, "compile")

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
            run = torch.compile(model) if variant == "compile" else model

            def forward():
                with torch.no_grad():
                    run(x)

            return forward
        y = torch.randint(0, sizes[-1], (batch,))
        loss_of = lambda: F.cross_entropy(model(x), y)  # noqa: E731
        how = variant
        if variant == "compile":
            loss_of = torch.compile(loss_of)
            how = "fused"
        adam = optimizer("adam", model.parameters(), how)

        def step():
            adam.zero_grad(set_to_none=True)
            loss_of().backward()
            adam.step()

        return step

    cases = {}
    reply(f"ready\t{torch.__version__}, {blas_name()}\t" + ("modern" if modern else ""))
    for line in sys.stdin:
        words = line.split()
        try:
            if words[0] == "make":
                variant = words[-1]
                run = make(words[2], words[3:-1], variant)
                run()
                cases[words[1]] = run
                reply("ok")
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
