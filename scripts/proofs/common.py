"""What every proof and study shares: where things are, running programs, and the result file."""
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
            sys.exit(f"{path}: absent, and needed here")


def last_json(command, env=None, peak=False):
    """Runs a command and returns its last line as JSON, with the whole process's seconds under 'process' and, if asked, the most memory that it
    held (VmHWM) under 'peak_mb'."""
    start = time.perf_counter()
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}) as child:
        lines = child.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nended with {child.returncode}")
    result = json.loads(lines[-1])
    result["process"] = round(time.perf_counter() - start, 2)
    if peak:
        result["peak_mb"] = round(usage.ru_maxrss / 1024)
    return result


def write_result(name, figures, seconds, kind="proof", command=None):
    """docs/results/<name>.json of a proof, study_<name>.json of a study; returns what it holds."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    path = ROOT / "docs/results" / (f"{name}.json" if kind == "proof" else f"{kind}_{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {kind: name, "commit": commit + ("+changes" if dirty else ""), "command": command or f"scripts/prove {name}",
              "seconds": round(seconds, 1), **figures}
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return result
