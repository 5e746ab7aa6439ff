"""A CLIP from scratch on flickr8k-128 beside open_clip on the same model, batches and time; then zero-shot and linear probe on
clothing-128 with a LiT model (frozen DINOv2-S and MiniLM), with DINOv2-S, and with that CLIP.

    scripts/prove clip [EPOCHS] [FOLDER]     EPOCHS: 20; FOLDER keeps the batches and the runs"""
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from clip_twin import RECIPE, TOKENS
from common import BIN, FLICKR, MODELS, NATIVE_BF16, ROOT, SHARED, last_json, need, write_result
from plot import line_plot

EPOCHS, BATCH = int(sys.argv[1]) if len(sys.argv) > 1 else 20, 128
PRECISION = "bf16" if NATIVE_BF16 else "fp32"  # PyTorch emulates bf16 elsewhere
VOCABULARY = SHARED / "data/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz"
CLOTHES = SHARED / "data/clothing-128"
TWIN = ROOT / "scripts/proofs/clip_twin.py"


def train_clip(work, steps):
    return last_json([BIN / "clip_train", "--model", work / "model", "--tokenizer", VOCABULARY, "--train", work / "train-*.tar",
                      "--val", FLICKR / "val-000000.tar", "--no-shuffle", "--workers", 1, "--scale", 1, 1, "--ratio", 1, 1, "--batch-size", BATCH,
                      "--total-steps", steps, "--max-steps", steps, "--precision", PRECISION, "--max-text-tokens", TOKENS,
                      "--lr", RECIPE["lr"], "--wd", RECIPE["wd"], "--beta1", RECIPE["beta1"], "--beta2", RECIPE["beta2"],
                      "--eps", RECIPE["eps"], "--warmup", RECIPE["warmup"], "--lr-scheduler", "cosine",
                      "--grad-clip-norm", RECIPE["grad_clip_norm"], "--out", work / "run"])


def train_lit(work):
    return last_json([BIN / "clip_train", "--train", FLICKR / "train-{000000..000006}.tar", "--val", FLICKR / "val-000000.tar",
                      "--vision", MODELS / "dinov2-small", "--text", MODELS / "minilm-l6", "--lock-vision", "--lock-text",
                      "--image-size", 126, "--precision", "bf16", "--out", work / "lit"])


def evaluate(model, task, *more):
    result = last_json([BIN / "clip_eval", "--model", model, "--task", task, "--shards", CLOTHES / "val-000000.tar",
                        "--classes", CLOTHES / "classes.json", *more])
    return {"top1": round(result[f"{task}-val-top1"], 4), "top5": round(result[f"{task}-val-top5"], 4),
            **({"c": result[task]["c"]} if task in result else {})}


def means(lines, count):
    """`count` points of a loss curve: the mean over equal runs of steps, at the last step and second of each."""
    size = max(1, len(lines) // count)
    runs = [lines[i:i + size] for i in range(0, len(lines) - size + 1, size)]
    return [{"step": run[-1]["step"], "seconds": round(run[-1]["seconds"], 1),
             "loss": round(sum(line["loss"] for line in run) / len(run), 4)} for run in runs]


def main():
    need(FLICKR, CLOTHES, VOCABULARY, MODELS / "dinov2-small", MODELS / "minilm-l6")
    start = time.time()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(sys.argv[2] if len(sys.argv) > 2 else temporary)
        work.mkdir(parents=True, exist_ok=True)
        mark = work / "prepared.json"
        if not mark.exists() or json.loads(mark.read_text())["epochs"] != EPOCHS:
            last_json([sys.executable, TWIN, "prepare", work, FLICKR, EPOCHS])
        steps = EPOCHS * 6832 // BATCH
        ours = train_clip(work, steps)
        seconds = ours["seconds"]["heads"]
        theirs = last_json([sys.executable, TWIN, "train", work, FLICKR, VOCABULARY, steps, BATCH, PRECISION, seconds, work / "theirs.json"])
        lines = [json.loads(line) for line in (work / "run/metrics.jsonl").read_text().splitlines()]
        elapsed = 0.0
        for line in lines:  # a step's own rate is its samples over its seconds
            elapsed += BATCH / line["samples_per_second"]
            line["seconds"] = elapsed
        other = json.loads((work / "theirs.json").read_text())
        curves = {"weft": means(lines, 60), "open_clip": means(other["lines"], 60)}
        line_plot(ROOT / "docs/results/clip.svg", {name: [(p["seconds"], p["loss"]) for p in curve] for name, curve in curves.items()},
                  "seconds of training", "loss")
        first = max(abs(a["loss"] - b["loss"]) for a, b in zip(lines[:20], other["lines"][:20]))
        lit = train_lit(work)
        clothes = {"zeroshot": {"lit": evaluate(work / "lit", "zeroshot"), "clip": evaluate(work / "run", "zeroshot")}, "linear-probe": {}}
        train = ("--train", CLOTHES / "train-{000000..000001}.tar")
        for name, model, more in (("dinov2-small", MODELS / "dinov2-small", ()), ("dinov2-small cls+mean", MODELS / "dinov2-small", ("--pool", "cls+mean")),
                                  ("lit", work / "lit", ()), ("lit, shared space", work / "lit", ("--projected",)), ("clip", work / "run", ())):
            clothes["linear-probe"][name] = evaluate(model, "linear-probe", *train, *more)
    median = lambda times: round(statistics.median(b - a for a, b in zip(times, times[1:])), 4)
    recalls = lambda result: {way: {k: round(v, 4) for k, v in result[way].items()} for way in ("image_to_text", "text_to_image")}
    figures = {
        "model": "96 px / 16, 256 wide, 6 + 4 layers, embedding 256", "batch": BATCH, "steps": steps, "epochs": EPOCHS, "precision": PRECISION,
        "weft": {"seconds": round(seconds, 1), "median_step_seconds": median([line["seconds"] for line in lines]), "samples_per_second": round(steps * BATCH / seconds, 1), **recalls(ours)},
        "open_clip": {"seconds": other["seconds"], "median_step_seconds": median([line["seconds"] for line in other["lines"]]), "samples_per_second": round(steps * BATCH / other["seconds"], 1), **recalls(other["at_the_end"])},
        "open_clip_at_our_time": other.get("at_our_time") and {"steps": other["at_our_time"]["steps"], **recalls(other["at_our_time"])},
        "first_20_losses_differ_by": round(first, 6), "loss_curves": curves,
        "lit_recalls": recalls(lit), "clothing_128": clothes,
    }
    gap = min(ours[way]["r10"] - other["at_the_end"][way]["r10"] for way in ("image_to_text", "text_to_image"))
    checks = {"weft trains within 20 minutes": seconds <= 1200, "not slower than open_clip": seconds <= other["seconds"],
              "R@10 not more than 0.02 below open_clip's": gap >= -0.02,
              "the first 20 losses agree to 1e-2 (bf16) or 1e-4": first <= (1e-2 if PRECISION == "bf16" else 1e-4)}
    write_result("clip", {"checks": checks, **figures}, time.time() - start)
    sys.exit(not all(checks.values()))


if __name__ == "__main__":
    main()
