"""What every proof shares: where things are, running programs, and the result file."""
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("WEFT_BIN", ROOT / "build/release/bin"))
SHARED = pathlib.Path(os.environ.get("WEFT_SHARED", ROOT.parent / "shared"))
MODELS = pathlib.Path(os.environ.get("WEFT_MODELS_DIR", ROOT / "build/models"))
FLICKR = SHARED / "data/flickr8k-128"
# Without bf16 instructions PyTorch emulates them.
NATIVE_BF16 = any(flag in pathlib.Path("/proc/cpuinfo").read_text() for flag in ("amx_bf16", "avx512_bf16"))


def need(*paths):
    for path in paths:
        if not pathlib.Path(path).exists():
            sys.exit(f"{path}: absent; this proof needs it")


def last_json(command, env=None):
    """Runs a command and returns its last line as JSON, with the whole process's seconds under 'process'."""
    start = time.perf_counter()
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    result["process"] = round(time.perf_counter() - start, 2)
    return result


def write_result(name, figures, seconds):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    path = ROOT / "docs/results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"proof": name, "commit": commit + ("+changes" if dirty else ""), "command": f"scripts/prove {name}",
              "seconds": round(seconds, 1), **figures}
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
