#!/usr/bin/env python3
"""Times weft against the Python stack; scripts/benchmark builds and calls it.

Each row gets two fresh processes, weft_bench and peers.py, with the same threads, processors and prepared inputs. Their outputs
are compared before anything is timed; then they take turns (A B A B ...), and the medians are reported with each process's peak
memory. The last line of stdout is one JSON object; a run over all rows also rewrites docs/benchmarks.md."""
import argparse, json, math, os, re, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import numpy
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).parent))
from peers import COMPLETE, FIRST_EMBEDDING, GATED_MLP, IMAGE_TOKEN, LINEAR_CE

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
NATIVE_BF16 = any(flag in Path("/proc/cpuinfo").read_text().split() for flag in ("avx512_bf16", "amx_bf16"))


def transformer_flops(width, layers, batches):
    """Matrix products of `layers` blocks of ViT's or BERT's shape; batches: (sequences, tokens in each)."""
    return sum(layers * batch * (24 * n * width**2 + 4 * n**2 * width) for batch, n in batches)


def rows(inputs):
    """What is measured. `work` names the function on both sides. `flops` and `bytes` give the row's limit on this machine."""
    vit, dino, minilm = str(inputs / "vit-small"), str(inputs / "dinov2-small"), str(inputs / "minilm-l6")
    image_peer, encode_peer = "Pillow + torchvision", "transformers, SDPA"

    def encode(name, model, file, precision, size, bar, flops):
        return dict(name=name, work="encode", peer=encode_peer, precision=precision, size=size, threads=2, bar=bar, flops=flops,
                    args=dict(model=model, inputs=str(inputs / file), precision=precision), reference=True)

    patches = lambda side, patch: 2 * (side // patch) ** 2 * 3 * patch**2 * 384
    vit_flops = lambda batch, side, patch: batch * patches(side, patch) + transformer_flops(384, 12, [(batch, (side // patch) ** 2 + 1)])
    tokens = load_file(inputs / "captions-128.safetensors")
    text_flops = transformer_flops(384, 6, [v.shape for k, v in tokens.items() if k.startswith("ids")])
    texts = "4 batches of 128 sorted captions"
    table = [
        dict(name="jpeg_128", work="jpeg_to_tensor", peer=image_peer, precision="fp32", size="256 JPEG 128x128 -> 126", threads=1, bar=1.25,
             args=dict(images=str(inputs / "photos-128.tar"), size=126), tolerance=1e-6),
        dict(name="jpeg_500", work="jpeg_to_tensor", peer=image_peer, precision="fp32", size="64 JPEG 500x375 -> 224", threads=1, bar=1.25,
             args=dict(images=str(inputs / "photos-500.tar"), size=224), tolerance=1e-6),
        encode("vit_s_1", vit, "pixels-1x224.safetensors", "bf16", "ViT-S/16, 1 image of 224", 1.3, vit_flops(1, 224, 16)),
        encode("vit_s_64", vit, "pixels-64x224.safetensors", "bf16", "ViT-S/16, 64 images of 224", 0.95, vit_flops(64, 224, 16)),
        encode("minilm_fp32", minilm, "captions-128.safetensors", "fp32", texts, None, text_flops),
        encode("minilm_bf16", minilm, "captions-128.safetensors", "bf16", texts, None, text_flops),
        dict(name="wordpiece", work="tokenize", peer="tokenizers", precision="ids", size="10,240 captions, batches of 256", threads=1, bar=5.0,
             args=dict(tokenizer=minilm + "/tokenizer.json", texts=str(inputs / "captions.json"), batch_size=256), tolerance=0),
        dict(name="first_embedding", peer="python -c, transformers", precision="fp32", size="MiniLM, one text, whole process", threads=2, bar=5.0,
             tolerance=1e-5, args=dict(model=minilm, text="a photo of a dog")),
        dict(name="safetensors_lazy", work="read_safetensors", peer="safetensors", precision="fp32", size="1 GB, 256 tensors, opened", threads=1,
             bar=None, args=dict(path=str(inputs / "weights.safetensors"), touch=False), tolerance=0),
        dict(name="safetensors_touched", work="read_safetensors", peer="safetensors", precision="fp32", size="1 GB, 256 tensors, summed", threads=2,
             bar=None, args=dict(path=str(inputs / "weights.safetensors"), touch=True), tolerance=1e-4, bytes=2**30),
    ]
    if (inputs / "dinov2-small").exists():
        table.insert(4, encode("dinov2_s_64", dino, "pixels-64x126.safetensors", "bf16", "DINOv2-S/14, 64 images of 126", None, vit_flops(64, 126, 14)))
    def clip_row(name, work, model, file, precision, size, bar, flops):
        return dict(name=name, work=work, peer="open_clip", precision=precision, size=size, threads=2, bar=bar, flops=flops, reference=True,
                    args=dict(model=str(inputs / model), inputs=str(inputs / file), precision=precision))

    b_32 = lambda batch: batch * 2 * 49 * 3072 * 768 + transformer_flops(768, 12, [(batch, 50)])
    lengths = [int(n) for n in load_file(inputs / "captions-16x77.safetensors")["ids"].argmax(1) + 1]
    step_flops = 3 * 64 * 2 * 49 * 768 * 256 + 3 * transformer_flops(256, 6, [(64, 50)]) + 3 * transformer_flops(256, 4, [(64, 32)])
    step = "112 px / 16, 256 wide, 6 + 4 layers; 64 pairs"
    table += [
        clip_row("clip_image_16", "encode_clip", "clip-b-32", "pixels-16x224.safetensors", "fp32", "CLIP ViT-B/32, 16 images of 224", 1.0, b_32(16)),
        clip_row("clip_image_1", "encode_clip", "clip-b-32", "pixels-1x224.safetensors", "bf16", "CLIP ViT-B/32, 1 image of 224", 1.3, b_32(1)),
        clip_row("clip_text_16", "encode_clip", "clip-b-32", "captions-16x77.safetensors", "fp32", "CLIP ViT-B/32, 16 captions in 77 tokens", None,
                 transformer_flops(512, 12, [(1, n) for n in lengths])),
        clip_row("clip_step_fp32", "train_clip", "clip-small", "clip-batch.safetensors", "fp32", step, 1.0, step_flops),
        clip_row("clip_step_bf16", "train_clip", "clip-small", "clip-batch.safetensors", "bf16", step, 1.0, step_flops),
    ]
    clip = Path(os.environ["WEFT_SHARED_DIR"]) / "data/tokenizers/clip"
    if clip.exists():
        captions = dict(texts=str(inputs / "captions.json"), batch_size=256, max_length=77)
        for threads, name in ((1, "clip_bpe"), (2, "clip_bpe_2")):
            table.append(dict(name=name, work="tokenize", peer="tokenizers", precision="ids", size="10,240 captions, batches of 256 x 77", threads=threads,
                              bar=10.0, args=dict(captions, tokenizer=str(clip / "tokenizer.json"), threads=threads), tolerance=0))
        for threads, workers in ((1, 0), (2, 2)):
            shards = str(Path(os.environ["WEFT_SHARED_DIR"]) / "data/flickr8k-128/train-00000{0,1}.tar")
            table.append(dict(name=f"data_path_{threads}", work="data_path", peer=f"webdataset, {workers} workers, open_clip's transform and tokenizer",
                              precision="fp32", size="2,000 pairs of two shards to 224, batches of 64", threads=threads, bar=1.5, tolerance=1e-5,
                              args=dict(shards=shards, tokenizer=str(clip / "bpe_simple_vocab_16e6.txt.gz"), batch_size=64, size=224,
                                        workers=workers, peer_workers=workers)))
        table.append(dict(name="clip_bpe_open_clip", work="tokenize_open_clip", peer="open_clip", precision="ids",
                          size="10,240 captions, batches of 256 x 77", threads=1, bar=30.0, tolerance=0,
                          args=dict(captions, tokenizer=str(clip / "bpe_simple_vocab_16e6.txt.gz"))))
    if not NATIVE_BF16:  # PyTorch emulates bf16 here, at a third of fp32's rate: its user would take fp32
        table += [dict(row, name=row["name"] + "_fp32_peer", peer=row["peer"] + ", fp32", peer_args=dict(row["args"], precision="fp32"))
                  for row in table if row["precision"] == "bf16" and row["work"] != "train_clip"]
    for kilobytes, count in ((1, 10_000), (10, 10_000), (100, 1_000)):
        table.append(dict(name=f"tar_{kilobytes}k", work="read_tar", peer="tarfile, streamed", precision="bytes", threads=1, bar=None,
                          size=f"{count:,} members of {kilobytes} kB", args=dict(path=str(inputs / f"members-{kilobytes}k.tar")), tolerance=0,
                          bytes=kilobytes * 1000 * count))
    for n in (1024, 4096):
        table.append(dict(name=f"info_nce_{n}", work="info_nce", peer="PyTorch, eager", precision="fp32", size=f"N = {n}, d = 512, both passes",
                          threads=2, bar=None, args=dict(inputs=str(inputs / f"pairs-{n}.safetensors"), precision="fp32"), reference=True,
                          flops=8 * n**2 * 512))
    smollm = inputs / "smollm2-135m"
    if smollm.exists():
        weights = 134_515_008
        language = lambda tokens, **more: dict(dict(model=str(smollm), inputs=str(inputs / f"text-{tokens}.safetensors"), precision="bf16"), **more)
        table += [dict(name="decode_bf16", work="decode", peer="transformers, SDPA", precision="bf16", threads=2, bar=2.0, reference=True,
                       size="SmolLM2-135M, 64 tokens one by one behind 32", args=language(96, prompt=32), bytes=64 * 2 * weights),
                  dict(name="prefill_bf16", work="prefill", peer="transformers, SDPA", precision="bf16", threads=2, bar=1.1, reference=True,
                       size="SmolLM2-135M, 512 tokens", args=language(512), flops=512 * 2 * 106_203_648)]
        # The share of the work that padding is: what a packed row saves.
        lengths = load_file(inputs / "conversations.safetensors")["mask"].sum(1)
        step = lambda packed: dict(work="train_vlm", peer="transformers, LlavaForConditionalGeneration, padded", threads=2, reference=True, pairs=4,
                                   size=f"DINOv2-S, MLP, SmolLM2-135M; 8 samples of {lengths.min()}-{lengths.max()} tokens, {'packed' if packed else 'padded'}",
                                   flops=6 * int(lengths.sum()) * 106_203_648 if packed else 6 * int(8 * lengths.max()) * 106_203_648)
        for packed, name in ((False, "llava_step"), (True, "llava_step_packed")):
            for precision in ("fp32", "bf16") if NATIVE_BF16 else ("fp32",):
                table.append(dict(step(packed), name=f"{name}_{precision}", precision=precision, bar=None if packed else 1.2,
                                  args=dict(vision=dino, language=str(smollm), inputs=str(inputs / "conversations.safetensors"),
                                            image_token=IMAGE_TOKEN, precision=precision, packed=packed)))
    for rows_, width, classes in LINEAR_CE:
        for precision in ("fp32", "bf16") if NATIVE_BF16 else ("fp32",):
            for percent, bar in ((100, 1.2), (30, 2.0), (10, 5.0)):
                table.append(dict(name=f"linear_ce_{width}_{percent}_{precision}", work="linear_cross_entropy", peer="lm_head + cross_entropy",
                                  precision=precision, threads=2, bar=bar, reference=True, pairs=5,
                                  size=f"N = {rows_}, D = {width}, V = {classes}, {percent} % labelled, both passes",
                                  args=dict(inputs=str(inputs / f"linear-ce-{width}.safetensors"), precision=precision, labelled=percent),
                                  flops=6 * (rows_ * percent // 100) * width * classes))
    rows_, width, inner = GATED_MLP
    for precision in ("fp32", "bf16") if NATIVE_BF16 else ("fp32",):
        table.append(dict(name=f"gated_mlp_{precision}", work="gated_mlp", peer="PyTorch, eager", precision=precision, threads=2, bar=None,
                          reference=True, size=f"SwiGLU, {rows_} x {width}, {inner} inside, both passes",
                          args=dict(inputs=str(inputs / "gated-mlp.safetensors"), precision=precision), flops=3 * 3 * 2 * rows_ * width * inner))
    shared = Path(os.environ["WEFT_SHARED_DIR"]) / "data/tokenizers"
    for name, file, threads in (("smollm2", smollm / "tokenizer.json", 1), ("smollm2_2", smollm / "tokenizer.json", 2),
                                ("phi3", shared / "phi-3-mini/tokenizer.json", 1), ("wordpiece", inputs / "minilm-l6/tokenizer.json", 1),
                                ("tiktoken", shared / "whisper/multilingual.tiktoken", 1), ("tiktoken_2", shared / "whisper/multilingual.tiktoken", 2)):
        if file.exists():
            peer = "tiktoken" if file.suffix == ".tiktoken" else "tokenizers"
            table.append(dict(name=f"corpus_{name}", work="tokenize_tiktoken" if peer == "tiktoken" else "tokenize_corpus", peer=peer, precision="ids",
                              size="100 MB of captions, sources and texts in documents of 4 kB", threads=threads, bar=2.0 if peer == "tiktoken" else 5.0,
                              args=dict(tokenizer=str(file), texts=str(inputs / "corpus.json"), batch_size=1000, threads=threads), tolerance=0,
                              pairs=2, megabytes=100))
    # Out and embeddings' gradient are written, embeddings, visual tokens and the gradient of out (twice) read.
    table.append(dict(name="splice", work="splice", peer="transformers, masked_scatter", precision="bf16", size="4096 x 4096, 7 images of 576, both passes",
                      threads=2, bar=10.0, args=dict(inputs=str(inputs / "splice.safetensors"), precision="bf16"), tolerance=0, bytes=4 * 4096 * 4096 * 2))
    for precision, size in (("fp32", 4), ("bf16", 2)):
        for suffix, peer, bar in (("", "transformers, LlamaRMSNorm", 2.0), ("_torch", "PyTorch, rms_norm", None)):
            table.append(dict(name=f"rms_norm_{precision}{suffix}", work=f"rms_norm{suffix}", peer=peer, precision=precision, threads=2, bar=bar,
                              size="4096 tokens of 2048, both passes", args=dict(inputs=str(inputs / "rms-norm.safetensors"), precision=precision),
                              tolerance=1e-5 if precision == "fp32" else 0.02, bytes=5 * 4096 * 2048 * size))
        table.append(dict(name=f"rope_{precision}", work="rope", peer="transformers, apply_rotary_pos_emb", precision=precision, threads=2, bar=4.0,
                          size="28 + 4 heads of 128, 4096 tokens, both passes", args=dict(inputs=str(inputs / "rope.safetensors"), precision=precision),
                          tolerance=1e-6 if precision == "fp32" else 0.02, bytes=4 * 32 * 4096 * 128 * size))
    return table


def environment(threads):
    return dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads),
                TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")


def pin(threads):
    return lambda: os.sched_setaffinity(0, CORES[:threads])


class Worker:
    """One side of a row, as a process that answers lines of JSON."""

    def __init__(self, command, threads):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=environment(threads), preexec_fn=pin(threads))

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.log.seek(0)
            raise RuntimeError((self.log.read().strip().splitlines() or ["no message"])[-1])
        return json.loads(line)

    def setup(self, work, args):
        with tempfile.TemporaryDirectory() as folder:
            self.ask(setup=work, args=args, outputs=f"{folder}/outputs.safetensors")
            return load_file(f"{folder}/outputs.safetensors")

    def seconds(self, runs):
        return self.ask(run=runs)["seconds"] / runs

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def difference(a, b):
    """The largest max|a - b| / max|b| over the tensors."""
    if a.keys() != b.keys() or any(a[k].shape != b[k].shape for k in b):
        raise RuntimeError("outputs differ in names or shapes: " +
                           ", ".join(f"{k} {list(x[k].shape) if k in x else 'absent'}" for x in (a, b) for k in sorted(a.keys() | b.keys())))
    return max(float(numpy.abs(a[k].astype(numpy.float64) - b[k]).max() / max(float(numpy.abs(b[k]).max()), 1e-30)) for k in b)


class Side:
    def __init__(self, worker):
        self.worker, self.times = worker, []

    def calibrate(self):
        self.runs = max(1, min(2000, math.ceil(0.1 / max(self.worker.seconds(1), 1e-9))))
        if self.runs > 1:
            self.worker.seconds(self.runs)

    def measure(self):
        self.times.append(self.worker.seconds(self.runs))


def compare_works(row, bench, pairs):
    peers = [sys.executable, Path(__file__).parent / "peers.py", "--serve"]
    reference = None
    if row.get("reference"):
        with Worker(peers, len(CORES)) as worker:
            reference = worker.setup(row["work"], dict(row["args"], precision="fp64"))
    with Worker([bench, "--serve"], row["threads"]) as a, Worker(peers, row["threads"]) as b:
        ours, theirs = a.setup(row["work"], row["args"]), b.setup(row["work"], row.get("peer_args", row["args"]))
        if reference is None:
            error, allowed = difference(ours, theirs), row["tolerance"]
        else:  # bf16 may be as far from the truth as the peer's bf16 is
            error = difference(ours, reference)
            allowed = 1e-4 if row["precision"] == "fp32" else 1.5 * difference(theirs, reference) + 1e-3
        if not error <= allowed:
            raise RuntimeError(f"results differ by {error:.2g} of the largest value, allowed {allowed:.2g}")
        sides = Side(a), Side(b)
        for side in sides:
            side.calibrate()
        for _ in range(pairs):
            for side in sides:
                side.measure()
        return sides[0].times, sides[1].times, a.ask(memory=True)["mb"], b.ask(memory=True)["mb"], error


def whole_process(command, threads):
    """(seconds, peak MB, last line) of a command."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=log, env=environment(threads), preexec_fn=pin(threads))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError((log.read().strip().splitlines() or ["no message"])[-1])
        out.seek(0)
        return seconds, usage.ru_maxrss / 1024, out.read().strip().splitlines()[-1]


def compare_first_embedding(row, embed, pairs):
    model, text = row["args"]["model"], row["args"]["text"]
    commands = [str(embed), "--model", model, "--text", text, "--json"], [sys.executable, "-c", FIRST_EMBEDDING, model, text]
    warm = [whole_process(command, row["threads"]) for command in commands]
    ours, theirs = ({"embedding": numpy.array(json.loads(line)["embedding"])} for _, _, line in warm)
    error = difference(ours, theirs)
    if not error <= row["tolerance"]:
        raise RuntimeError(f"embeddings differ by {error:.2g} of the largest value, allowed {row['tolerance']:.2g}")
    measured = [[], []]
    for _ in range(pairs):
        for side, command in zip(measured, commands):
            side.append(whole_process(command, row["threads"]))
    (a, b) = measured
    return [x[0] for x in a], [x[0] for x in b], max(x[1] for x in a), max(x[1] for x in b), error


def calibrate_machine(bench):
    """GEMM rates in TFLOP/s and copy bandwidth (bytes read and written) in GB/s, by threads."""
    rates = {}
    for threads in sorted({1, min(2, len(CORES))}):
        rate = {}
        small = 2048 if NATIVE_BF16 else 256  # emulated, a large product takes a minute
        for name, work, args, amount in (("fp32", "matrix_product", dict(size=2048, precision="fp32"), 2 * 2048**3 / 1e12),
                                         ("bf16", "matrix_product", dict(size=small, precision="bf16"), 2 * small**3 / 1e12),
                                         ("copy", "copy", dict(bytes=2**30), 2 * 2**30 / 1e9)):
            with Worker([bench, "--serve"], threads) as worker:
                worker.setup(work, args)
                side = Side(worker)
                side.calibrate()
                for _ in range(7):
                    side.measure()
                rate[name] = round(amount / statistics.median(side.times), 5)
        rates[threads] = rate
    return rates


def describe_machine(rates):
    cpuinfo = Path("/proc/cpuinfo").read_text()
    field = lambda name: (re.search(rf"^{name}\s*:\s*(.+)$", cpuinfo, re.M) or [None, "unknown"])[1]
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 2**20
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in field("flags").split()]
    return dict(cpu=field("model name"), cores=len(CORES), memory_gb=round(memory), instructions=flags, rates=rates)


def limit_seconds(row, rates):
    """What the machine's own rates allow at best, or None."""
    rate = rates.get(row["threads"])
    if not rate:
        return None
    if "flops" in row:
        allowed = ("bf16", "fp32") if row["precision"] == "bf16" else ("fp32",)  # weft takes the faster one
        return row["flops"] / (max(rate[name] for name in allowed) * 1e12)
    return row["bytes"] / (rate["copy"] * 1e9) if "bytes" in row else None


def run_row(row, options, rates):
    result = {key: row[key] for key in ("name", "peer", "precision", "size", "threads", "bar")}
    try:
        if row["threads"] > len(CORES):
            raise RuntimeError(f"needs {row['threads']} processors, {len(CORES)} are there")
        if row["name"] == "first_embedding":
            ours, theirs, ours_mb, theirs_mb, error = compare_first_embedding(row, options.bin / "embed", options.pairs)
        else:
            ours, theirs, ours_mb, theirs_mb, error = compare_works(row, options.bin / "weft_bench", min(options.pairs, row.get("pairs", options.pairs)))
    except (RuntimeError, OSError) as problem:
        return dict(result, error=str(problem))
    ratios = sorted(b / a for a, b in zip(ours, theirs))
    limit = limit_seconds(row, rates)
    return dict(result, ours=statistics.median(ours), theirs=statistics.median(theirs), ratio=round(statistics.median(ratios), 3),
                megabytes=row.get("megabytes"), ratio_range=[round(ratios[0], 3), round(ratios[-1], 3)], limit_ratio=limit and round(limit / statistics.median(ours), 3),
                ours_mb=round(ours_mb), theirs_mb=round(theirs_mb), difference=error)


def duration(seconds):
    for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.2f} µs"


def speed(result, seconds):
    return duration(seconds) + (f" ({result['megabytes'] / seconds:.3g} MB/s)" if result["megabytes"] else "")


def page(report):
    """docs/benchmarks.md"""
    machine = report["machine"]
    lines = ["# Benchmarks", "", "Written by `scripts/benchmark`; do not edit.", "",
             "The same work by weft and by the Python stack, in one run: both sides read the same prepared inputs, with the same threads, pinned "
             "to the same processors, batches and padding; results are compared before anything is timed; the two take turns "
             f"({report['pairs']} pairs, of long rows fewer) and the medians count. Times are wall-clock; a ratio above 1 means that weft is faster. "
             "Limit is the share of the machine's own GEMM rate or copy bandwidth that weft reaches (1 = all of it). "
             "Memory is the peak of a process that does only this row.", "",
             f"Machine: {machine['cpu']}, {machine['cores']} processors, {machine['memory_gb']} GB, {', '.join(machine['instructions'])}. "
             f"weft at {report['commit']}, {', '.join(f'{k} {v}' for k, v in report['versions'].items())}."]
    if report["load"] > 0.5:
        lines += ["", f"**Preliminary**: the machine was busy with other work (load average {report['load']:.1f} at the start)."]
    lines += ["", "| threads | fp32 GEMM, TFLOP/s | bf16 GEMM, TFLOP/s | copy, GB/s (read + written) |", "|---|---|---|---|"]
    lines += [f"| {n} | {r['fp32']:.2f} | {r['bf16']:.2f} | {r['copy']:.1f} |" for n, r in machine["rates"].items()]
    lines += ["", "| row | work | peer | precision | threads | weft | peer's | ratio (range) | bar | limit | memory, weft / peer |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for r in report["rows"]:
        head = f"| {r['name']} | {r['size']} | {r['peer']} | {r['precision']} | {r['threads']} | "
        if "error" in r:
            lines.append(head + "- | - | - | " + (f"{r['bar']}x" if r["bar"] else "") + " | | |")
        else:
            lines.append(head + f"{speed(r, r['ours'])} | {speed(r, r['theirs'])} | **{r['ratio']:.2f}** ({r['ratio_range'][0]:.2f}-{r['ratio_range'][1]:.2f}) | "
                         + (f"{r['bar']}x" if r["bar"] else "") + " | " + (f"{r['limit_ratio']:.2f}" if r["limit_ratio"] else "")
                         + f" | {r['ours_mb']} / {r['theirs_mb']} MB |")
    short = [f"- {r['name']}: {r['ratio']:.2f}x, the bar is {r['bar']}x." for r in report["rows"] if "error" not in r and r["bar"] and r["ratio"] < r["bar"]]
    short += [f"- {r['name']}: {r['ratio']:.2f}x, slower than its peer." for r in report["rows"] if "error" not in r and not r["bar"] and r["ratio"] < 1]
    short += [f"- {r['name']}: no figure: {r['error']}." for r in report["rows"] if "error" in r]
    lines += ["", "## What falls short", "", *(short or ["Nothing."]), "", "## On a GPU", "",
              "No figures: the CUDA kernels have only been compiled so far, and their arithmetic tested on the CPU. On a machine with a GPU "
              "`scripts/gpu_check build DIR` and then `DIR/run` test and time them: see [maintaining](maintaining.md#on-a-machine-with-a-gpu)."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description="Times weft against the Python stack.")
    parser.add_argument("--only", default="", help="names of rows, separated by commas; the page is then left as it is")
    parser.add_argument("--json", type=Path, help="also write the report to this file")
    parser.add_argument("--pairs", type=int, default=10, help="timed pairs a row")
    parser.add_argument("--bin", type=Path, default=ROOT / "build/release/bin", help=argparse.SUPPRESS)
    options = parser.parse_args()

    load = os.getloadavg()[0]
    os.environ.setdefault("WEFT_SHARED_DIR", str(ROOT.parent / "shared"))
    os.environ.setdefault("WEFT_MODELS_DIR", str(ROOT / "build/models"))
    inputs = ROOT / "build/benchmarks"
    if not (inputs / COMPLETE).exists():
        print("benchmark: preparing inputs in build/benchmarks", file=sys.stderr)
        subprocess.run([sys.executable, Path(__file__).parent / "peers.py", "--prepare", inputs], check=True)

    table = rows(inputs)
    only = [name for name in options.only.split(",") if name]
    unknown = set(only) - {row["name"] for row in table}
    if unknown:
        parser.error(f"no rows {', '.join(sorted(unknown))}; there are {', '.join(row['name'] for row in table)}")
    rates = calibrate_machine(options.bin / "weft_bench")
    results = []
    for row in table:
        if only and row["name"] not in only:
            continue
        result = run_row(row, options, rates)
        results.append(result)
        text = result.get("error") or (f"{duration(result['ours'])} against {duration(result['theirs'])}, {result['ratio']:.2f}x"
                                       + (f" (bar {row['bar']}x)" if row["bar"] else ""))
        print(f"{row['name']}: {text}", file=sys.stderr, flush=True)

    import torch, transformers
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    report = dict(machine=describe_machine(rates), commit=git.stdout.strip() or "unknown", load=round(load, 2), pairs=options.pairs,
                  versions=dict(torch=torch.__version__, transformers=transformers.__version__), rows=results)
    if not only:
        (ROOT / "docs").mkdir(exist_ok=True)
        (ROOT / "docs/benchmarks.md").write_text(page(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))
    return 1 if any("error" in result for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
