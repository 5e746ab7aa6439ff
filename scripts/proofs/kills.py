"""SIGKILL at random moments of a run from scratch: there is always a loadable checkpoint once one was written, and the
resumed run ends bit-identical to an undisturbed one: weights, and the loss of every step."""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from common import BIN, write_result

KILLS = int(os.environ.get("WEFT_KILLS", "30"))


def command(data, out, resume):
    return [str(BIN / "clip_train"), "--train", f"{data}/train-*.tar", "--vision", "vit_tiny", "--text", "text_tiny",
            "--image-size", "32", "--batch-size", "32", "--epochs", "6", "--workers", "2", "--seed", "3", "--save-every", "5",
            "--out", out] + (["--resume", "latest"] if resume else [])


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def newest(run):
    """The newest checkpoint that has a name: -1 for none."""
    folder = pathlib.Path(run, "checkpoints")
    return max((int(p.name[5:]) for p in folder.glob("step-*")), default=-1) if folder.is_dir() else -1


def losses(run):
    with open(f"{run}/metrics.jsonl") as lines:
        return [(m["step"], m["loss"], m["grad_norm"]) for m in map(json.loads, lines)]


def weights(run):
    found = {str(path.relative_to(run)): path.read_bytes() for path in pathlib.Path(run, "model").rglob("*.safetensors")}
    assert len(found) == 3, sorted(found)  # heads and both towers
    return found


def main():
    start, rng = time.time(), random.Random(0)
    with tempfile.TemporaryDirectory() as work:
        data, calm, killed = f"{work}/data", f"{work}/calm", f"{work}/killed"
        subprocess.run([str(BIN / "scenes"), "--out", data, "--train", "640", "--size", "32", "--seed", "1"], check=True,
                       stdout=subprocess.DEVNULL)
        began = time.time()
        subprocess.run(command(data, calm, False), check=True, env=environment(), stdout=subprocess.DEVNULL)
        whole = time.time() - began
        kills, starts, reached, finished = 0, 0, -1, False
        while not finished:
            resume = newest(killed) >= 0
            process = subprocess.Popen(command(data, killed, resume), env=environment(), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
            starts += 1
            if kills < KILLS:
                try:
                    process.wait(rng.uniform(0.2, max(1.0, 0.35 * whole)))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kills += 1
                    if newest(killed) < reached:
                        sys.exit(f"after kill {kills} the newest checkpoint is {newest(killed)}, an earlier one was {reached}")
                    reached = newest(killed)
                    continue
            errors = process.communicate()[1]
            if process.returncode:
                sys.exit(f"start {starts} ended with {process.returncode}: {errors[-2000:]}")
            if resume and "resumed" not in errors:
                sys.exit(f"start {starts} did not resume: {errors[-2000:]}")
            finished = kills >= KILLS
            if not finished:  # it ended before its kill: begin again, keeping count
                subprocess.run(["rm", "-rf", killed], check=True)
                reached = -1
        same_losses, same_weights = losses(calm) == losses(killed), weights(calm) == weights(killed)
        steps = len(losses(calm))
    write_result("kills", {"kills": kills, "starts": starts, "steps": steps, "losses_identical": same_losses,
                           "weights_identical": same_weights}, time.time() - start)
    sys.exit(not (same_losses and same_weights and kills == KILLS))


main()
