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
