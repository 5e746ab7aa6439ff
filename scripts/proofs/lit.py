"""The real result: frozen DINOv2-S and MiniLM with trained heads on flickr8k-128, in weft and in Python, turn by turn."""
import statistics
import sys
import tempfile
import time

from common import BIN, FLICKR, MODELS, NATIVE_BF16, SHARED, last_json, need, write_result

STAGES = ("models", "load", "image_features", "text_features", "heads", "evaluate")
SEEDS = [int(seed) for seed in sys.argv[1].split(",")] if len(sys.argv) > 1 else [0, 1, 2]


def ours(seed, out):
    return last_json([BIN / "clip_train", "--train", FLICKR / "train-{000000..000006}.tar", "--val", FLICKR / "val-000000.tar",
                      "--vision", MODELS / "dinov2-small", "--text", MODELS / "minilm-l6", "--lock-vision", "--lock-text",
                      "--image-size", 126, "--batch-size", 512, "--epochs", 12, "--lr", "1e-3", "--precision", "bf16",
                      "--workers", 2, "--seed", seed, "--out", f"{out}/{seed}"])


TWIN = SHARED / "tools/lit_flickr8k.py"
# Where PyTorch emulates bf16 the twin's own arithmetic is a straw man, and it is timed in fp32 as well.
IN_FP32 = """
import functools, runpy, sys, torch
torch.autocast = functools.partial(torch.autocast, enabled=False)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def theirs(seed):
    return last_json([sys.executable, TWIN, FLICKR, MODELS, 126, seed])


def theirs_in_fp32(seed):
    return last_json([sys.executable, "-c", IN_FP32, TWIN, FLICKR, MODELS, 126, seed])


def mean(runs, *keys):
    def value(run):
        for key in keys:
            run = run[key]
        return run
    return statistics.mean(value(run) for run in runs)


def main():
    need(FLICKR, MODELS / "dinov2-small", MODELS / "minilm-l6", TWIN)
    start, weft, python = time.time(), [], []
    with tempfile.TemporaryDirectory() as out:
        for seed in SEEDS:
            python.append(theirs(seed))
            weft.append(ours(seed, out))
            print(f"seed {seed}: weft {weft[-1]['total']} s, python {python[-1]['total']} s", file=sys.stderr)
    in_fp32 = None if NATIVE_BF16 else theirs_in_fp32(SEEDS[0])
    print(f"{'stage':16}{'weft':>10}{'python':>10}{'ratio':>8}", file=sys.stderr)
    stages = {}
    for stage in STAGES:
        a, b = mean(weft, "seconds", stage), mean(python, "seconds", stage)
        stages[stage] = {"weft": round(a, 2), "python": round(b, 2), "ratio": round(a / max(b, 1e-9), 3)}
        print(f"{stage:16}{a:10.2f}{b:10.2f}{a / max(b, 1e-9):8.2f}", file=sys.stderr)
    i2t, t2i = mean(weft, "image_to_text", "r10"), mean(weft, "text_to_image", "r10")
    i2t_python, t2i_python = mean(python, "image_to_text", "r10"), mean(python, "text_to_image", "r10")
    total = mean(weft, "total") / mean(python, "total")
    total_fp32 = in_fp32 and round(mean(weft, "total") / in_fp32["total"], 3)
    if in_fp32:
        print(f"total {total:.3f} of python's, {total_fp32} of python's in fp32, the faster on this machine", file=sys.stderr)
    checks = {
        "image_to_text r10 >= 0.425": i2t >= 0.425,
        "text_to_image r10 >= 0.408": t2i >= 0.408,
        "not more than 0.012 below python": i2t >= i2t_python - 0.012 and t2i >= t2i_python - 0.012,
        "total <= 0.88 of python": total <= 0.88,
        "load <= 0.5 of python": stages["load"]["ratio"] <= 0.5,
        "image features >= 0.95 of python's rate": stages["image_features"]["ratio"] <= 1 / 0.95,
    }
    write_result("lit", {"seeds": SEEDS, "image_to_text_r10": round(i2t, 4), "text_to_image_r10": round(t2i, 4),
                         "python_image_to_text_r10": round(i2t_python, 4), "python_text_to_image_r10": round(t2i_python, 4),
                         "total_ratio": round(total, 3), "total_ratio_python_fp32": total_fp32,
                         "stages": stages, "checks": checks, "weft": weft, "python": python,
                         "python_fp32": in_fp32},
                 time.time() - start)
    sys.exit(not all(checks.values()))


main()
