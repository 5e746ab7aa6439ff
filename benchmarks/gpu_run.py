#!/usr/bin/env python3
"""Tests and times weft's CUDA kernels on this machine; packed as `run` by scripts/gpu_check.

    run [--device cuda|cpu] [--json FILE] [--skip-sanitizer]

Needs a driver and a python3 whose torch is the one of bundle.json. Prints a table, writes JSON (default: result.json beside
this file) and a log beside it. With --device cpu, which needs no driver, the tests of the host and small timings run: they
prove the folder, not the kernels. Exit 0 when all tests passed and all results agree, 1 when not, 3 where there is no GPU, not
that torch, or a system too old for the programs."""
import argparse, glob, json, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT_S = 600  # of each step
FOUND_ERRORS = 9  # compute-sanitizer's exit status


def stop(message):
    print(f"gpu_check: {message}", file=sys.stderr)
    sys.exit(3)


def libraries(torch):
    """The bundle's, torch's, and whatever CUDA libraries this Python has loaded or has wheels of."""
    root = Path(torch.__file__).parent
    folders = [HERE / "lib", root / "lib", *sorted(root.parent.glob("nvidia/*/lib"))]
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if re.match(r"lib(cu|nv|nccl)", path.name) and path.parent not in folders:
            folders.append(path.parent)
    return ":".join(map(str, folders))


def run_tests(environment, log, device, prefix=()):
    """Passed, failed and seconds of the tests of a device; their output goes into `log`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "tests.json")
        command = [*prefix, HERE / "bin" / "weft_op_tests", f"--gtest_filter={'*/cuda' if device == 'cuda' else '-*/cuda'}",
                   f"--gtest_output=json:{report}"]
        try:
            status = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            status = None
        counts = json.loads(report.read_text()) if report.exists() else {"tests": 0, "failures": 0, "time": "0s"}
    passed = counts["tests"] - counts["failures"]
    return {"status": status, "passed": passed, "failed": counts["failures"], "time": counts["time"],
            "ok": status == 0 and passed > 0}


def find_sanitizer():
    nvcc = shutil.which("nvcc")
    beside = [str(Path(nvcc).resolve().parent)] if nvcc else []
    return shutil.which("compute-sanitizer", path=os.pathsep.join([os.environ.get("PATH", ""), *beside, *glob.glob("/usr/local/cuda*/bin")]))


def run_rows(environment, log, device):
    command = [sys.executable, HERE / "gpu_rows.py", "--library", HERE / "lib" / "libweft.so", "--device", device]
    command += ["--batch", "2", "--pairs", "1"] if device == "cpu" else []
    try:
        rows = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"status": None, "rows": []}
    return {"status": rows.returncode, **(json.loads(rows.stdout.splitlines()[-1]) if rows.stdout.strip() else {"rows": []})}


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def show(result):
    print(f"{result['device']}, torch {result['torch']}, weft at {result['bundle']['commit']}\n")
    tests, checked, benchmark = result["tests"], result["sanitizer"], result["benchmark"]
    print(f"tests: {tests['passed']} passed, {tests['failed']} failed" + ("" if tests["ok"] else f", exit status {tests['status']}"))
    if isinstance(checked, str):
        print(f"compute-sanitizer: {checked}")
    else:
        print("compute-sanitizer: " + ("no errors" if checked["ok"] else "ERRORS" if checked["status"] == FOUND_ERRORS else "did not run to its end"))
    if not benchmark["rows"]:
        return
    print(f"copy: {benchmark['copy_gb_s']:.0f} GB/s (read + written), bf16 GEMM: {benchmark['gemm_tflop_s']:.2f} TFLOP/s\n")
    table([("row", "work", "peer", "weft", "peer's", "ratio", "GB/s", "of the limit")] + [
        (row["name"], row["size"], row["peer"], f"{row['ours'] * 1e6:.1f} us", f"{row['theirs'] * 1e6:.1f} us",
         f"{row['ratio']:.2f}", f"{row['gb_s']:.0f}", f"{row['limit_ratio']:.2f}") for row in benchmark["rows"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, default=HERE / "result.json")
    parser.add_argument("--skip-sanitizer", action="store_true")
    options = parser.parse_args()
    bundle = json.loads((HERE / "bundle.json").read_text())
    try:
        import torch
    except ImportError as error:
        stop(f"{sys.executable} has no torch ({error}); torch {bundle['torch']} with CUDA is needed")
    if torch.__version__.split("+")[0] != bundle["torch"] or not torch.version.cuda:
        stop(f"this folder was built for torch {bundle['torch']} with CUDA, found {torch.__version__}")
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        stop("no GPU was found: torch sees no CUDA device on this machine; nothing was tested")
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries(torch)}
    starts = subprocess.run([HERE / "bin" / "weft_op_tests", "--gtest_list_tests"], env=environment, capture_output=True, text=True)
    if starts.returncode:
        stop("the test program does not start here: " + (starts.stderr.strip().splitlines() or [f"exit status {starts.returncode}"])[-1])

    device = "CPU (no kernel was run)"
    if cuda:
        properties = torch.cuda.get_device_properties(0)
        device = f"{properties.name} (sm_{properties.major}{properties.minor})"
    result = {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda, "bundle": bundle}
    log_path = options.json.with_suffix(".log")
    with open(log_path, "w") as log:
        result["tests"] = run_tests(environment, log, options.device)
        sanitizer = find_sanitizer()
        result["sanitizer"] = "not run" if options.skip_sanitizer or not cuda else "not found"
        if result["sanitizer"] == "not found" and sanitizer:
            # Each tensor an allocation of its own, or an access beyond one would stay inside torch's pool.
            result["sanitizer"] = run_tests({**environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}, log, "cuda",
                                            [sanitizer, "--error-exitcode", str(FOUND_ERRORS)])
        result["benchmark"] = run_rows(environment, log, options.device)
    checked = result["sanitizer"]
    good = result["tests"]["ok"] and (isinstance(checked, str) or checked["ok"]) and result["benchmark"]["status"] == 0
    result["ok"] = good
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    print(f"\n{'all is well' if good else f'FAILED, see {log_path}'}; {options.json}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
