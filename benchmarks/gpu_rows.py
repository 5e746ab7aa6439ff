#!/usr/bin/env python3
"""Times weft's ops with CUDA kernels against the same work in PyTorch's eager ops, in one process and on the same tensors.

    gpu_rows.py --library libweft.so [--device cuda|cpu] [--batch 256] [--pairs 7]

Results are compared before anything is timed; inputs rotate, so that none is left in the cache; the two sides take turns and
medians count. The last line of stdout is one JSON object. Exit 1 where results differ."""
import argparse, json, statistics, sys, time
import torch


def patches(pixels, p, dtype):
    """The composition that ops/patchify stands for: cut in uint8, the fewest bytes, then convert and centre."""
    b, c, height, width = pixels.shape
    h, w = height // p, width // p
    cut = pixels[:, :, :h * p, :w * p].reshape(b, c, h, p, w, p).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w, c * p * p)
    return cut.to(dtype).sub_(128)


def embed(pixels, weight, bias, mean, std):
    """A float image, normalised, and the convolution, as a vision model in bf16 does it."""
    image = ((pixels.float() / 255 - mean) / std).to(weight.dtype)
    return torch.nn.functional.conv2d(image, weight, bias, stride=weight.shape[2]).flatten(2).transpose(1, 2)


def head(x, weight, labels):
    """A language model's head and its loss, as transformers computes them."""
    return torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, weight).float(), labels)


def feed_forward(gate, up, weight):
    """The second half of a SwiGLU layer, as transformers computes it."""
    return torch.nn.functional.linear(torch.nn.functional.silu(gate) * up, weight)


def llama_norm(x, weight):
    """transformers' LlamaRMSNorm."""
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def turn(x, cos, sin):
    """transformers' rotary embedding; x [B, H, T, D], cos and sin [1, T, D]."""
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat((-high, low), -1) * sin


def with_gradients(f):
    """f(*inputs) and the gradient of each input."""
    def work(inputs):
        leaves = [t.detach().requires_grad_() for t in inputs]
        out = f(*leaves)
        return out.detach(), *torch.autograd.grad(out, leaves, out.detach())
    return work


def tensors(value):
    return [value] if torch.is_tensor(value) else list(value)


class Clock:
    """Seconds of one call, measured over `repeats`."""

    def __init__(self, device):
        self.cuda = device == "cuda"

    def __call__(self, work, inputs, repeats):
        if not self.cuda:
            start = time.perf_counter()
            for i in range(repeats):
                work(inputs[i % len(inputs)])
            return (time.perf_counter() - start) / repeats
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for i in range(repeats):
            work(inputs[i % len(inputs)])
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / repeats


def pairs(clock, ours, theirs, inputs, count):
    if not clock.cuda:  # proves the script: figures of a CPU, which may have no bf16 at all, are of no use
        return tuple(clock(work, inputs, 1) for work in (ours, theirs))
    for work in (ours, theirs):
        clock(work, inputs, 3)
    repeats = max(3, min(200, int(0.05 / max(1e-6, clock(ours, inputs, 3)))))
    times = [(clock(ours, inputs, repeats), clock(theirs, inputs, repeats)) for _ in range(count)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    torch.ops.load_library(options.library)
    weft, device, batch = torch.ops.weft, options.device, options.batch
    torch.manual_seed(0)
    clock = Clock(device)

    source = torch.randint(0, 256, (batch << 20,), dtype=torch.uint8, device=device).repeat(4)
    target = torch.empty_like(source)
    copy, _ = pairs(clock, target.copy_, target.copy_, [source], options.pairs)
    copy_gb_s = 2 * source.numel() / copy / 1e9
    del source, target
    n = 8192 if clock.cuda else 128
    left, right = (torch.randn(n, n, device=device).bfloat16() for _ in range(2))
    product, _ = pairs(clock, right.mm, right.mm, [left], options.pairs)
    gemm_tflop_s = 2 * n**3 / product / 1e12
    del left, right

    rows, agree = [], True

    def row(name, size, ours, theirs, inputs, tolerance, flop=0):
        """`flop`: of the row's matrix product, whose rate then bounds it beside the copy's."""
        nonlocal agree
        a, b = tensors(ours(inputs[0])), tensors(theirs(inputs[0]))
        if [t.shape for t in a] != [t.shape for t in b]:
            print(f"{name}: results differ in shape: {[list(t.shape) for t in a]} and {[list(t.shape) for t in b]}", file=sys.stderr)
            agree = False
            return
        error = max(((x.double() - y).abs().max() / y.abs().max()).item() for x, y in zip(a, b))
        if not error <= tolerance:
            print(f"{name}: results differ by {error} (allowed {tolerance})", file=sys.stderr)
            agree = False
            return
        moved = sum(t.nbytes for t in [*tensors(inputs[0]), *a])
        del a, b
        mine, other = pairs(clock, ours, theirs, inputs, options.pairs)
        limit = max(moved / copy_gb_s / 1e9, flop / gemm_tflop_s / 1e12)
        rows.append({"name": name, "peer": "eager", "precision": "bf16", "size": size, "ours": mine, "theirs": other,
                     "ratio": other / mine, "gb_s": moved / mine / 1e9, "limit_ratio": limit / mine, "error": error})

    with torch.inference_mode():
        for layout in ("NCHW", "NHWC"):
            order = torch.channels_last if layout == "NHWC" else torch.contiguous_format
            inputs = [torch.randint(0, 256, (batch, 3, 224, 224), dtype=torch.uint8, device=device).contiguous(memory_format=order)
                      for _ in range(3)]
            for p in (14, 16, 32):
                row(f"patchify_{p}_{layout.lower()}", f"{batch} x 224, patch {p}, uint8 {layout} -> bf16",
                    lambda x: weft._patchify(x, p, torch.bfloat16, 128), lambda x: patches(x, p, torch.bfloat16), inputs, 0)
            mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
            mean_t, std_t = (torch.tensor(v, device=device).view(3, 1, 1) for v in (mean, std))
            for p, width in ((14, 1024), (16, 768)) if clock.cuda else ((14, 32), (16, 24)):
                weight = (torch.randn(width, 3, p, p, device=device) * 0.03).bfloat16()
                bias = torch.randn(width, device=device).bfloat16()
                row(f"patch_embed_{p}_{layout.lower()}", f"{batch} x 224, patch {p}, uint8 {layout} -> {width}",
                    lambda x: weft.patch_embed(x, weight, bias, mean, std), lambda x: embed(x, weight, bias, mean_t, std_t),
                    inputs, 0.02, 2 * batch * (224 // p) ** 2 * 3 * p**2 * width)

    # What a language model of LLaVA's kind has around its layers.
    n, d, v = (32 * batch, 2048, 32000) if clock.cuda else (32 * batch, 64, 500)
    weight = (torch.randn(v, d, device=device) * 0.02).bfloat16()
    for percent in (100, 30):
        labels = torch.randint(v, (n,), device=device).masked_fill(torch.rand(n, device=device) * 100 >= percent, -100)
        row(f"linear_ce_{percent}", f"N = {n}, D = {d}, V = {v}, {percent} % labelled, forward and backward",
            with_gradients(lambda x, w: weft.linear_cross_entropy(x, w, labels)), with_gradients(lambda x, w: head(x, w, labels)),
            [(torch.randn(n, d, device=device).bfloat16(), weight) for _ in range(2)], 0.02, 6 * n * percent // 100 * d * v)
    inner = 4 * d
    weight = (torch.randn(d, inner, device=device) * inner ** -0.5).bfloat16()
    row("gated_linear", f"N = {n}, {inner} -> {d}, SwiGLU, forward and backward", with_gradients(weft.gated_linear), with_gradients(feed_forward),
        [(*(torch.randn(n, inner, device=device).bfloat16() for _ in range(2)), weight) for _ in range(2)], 0.02, 6 * n * inner * d)
    tokens = 64 * batch
    mask = torch.rand(1, tokens, device=device) < 0.9
    spliced = [(torch.randn(1, tokens, 4096, device=device).bfloat16(), torch.randn(int(mask.sum()), 4096, device=device).bfloat16()) for _ in range(2)]
    row("splice", f"{tokens} x 4096, forward and backward", with_gradients(lambda x, y: weft.splice(x, y, mask)),
        with_gradients(lambda x, y: x.masked_scatter(mask.unsqueeze(-1), y)), spliced, 0)
    scale = (torch.rand(4096, device=device) + 0.5).bfloat16()
    row("rms_norm", f"{tokens} x 4096, forward and backward", with_gradients(weft.rms_norm), with_gradients(llama_norm),
        [(torch.randn(tokens, 4096, device=device).bfloat16(), scale) for _ in range(2)], 0.02)
    angles = torch.rand(1, tokens, 64, device=device) * 100
    cos, sin = angles.cos(), angles.sin()
    tables = [torch.cat((t, t), -1).bfloat16() for t in (cos, sin)]
    row("rope", f"28 heads of 128, {tokens} tokens, forward and backward", with_gradients(lambda x: weft.rope(x.transpose(1, 2), cos, sin)),
        with_gradients(lambda x: turn(x.transpose(1, 2), *tables)), [(torch.randn(1, tokens, 28, 128, device=device).bfloat16(),) for _ in range(2)], 0.02)
    print(json.dumps({"copy_gb_s": copy_gb_s, "gemm_tflop_s": gemm_tflop_s, "rows": rows}))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
