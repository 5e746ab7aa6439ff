#!/usr/bin/env python3
"""Tests and times weft's CUDA kernels on this machine; packed as `run` by scripts/gpu_check.

    run [--json FILE] [--skip-sanitizer]

Needs a driver and a python3 whose torch is the one of bundle.json. Prints a table, writes JSON (default: result.json beside
this file). Exit 0 when all tests passed and all results agree, 1 when not, 3 where there is no GPU or not that torch."""
import argparse, glob, json, os, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def stop(message):
    print(f"gpu_check: {message}", file=sys.stderr)
    sys.exit(3)


def libraries(torch):
    """The bundle's, torch's, and the CUDA wheels' beside torch."""
    root = os.path.dirname(torch.__file__)
    wheels = sorted(glob.glob(os.path.join(root, "..", "nvidia", "*", "lib")))
    return ":".join([os.path.join(HERE, "lib"), os.path.join(root, "lib"), *wheels])


def run_tests(environment, log, prefix=(), limit=600):
    """Passed, failed, seconds of the tests that run on CUDA; their output goes into `log`."""
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "tests.json")
        command = [*prefix, os.path.join(HERE, "bin", "weft_tests"), "--gtest_filter=*/cuda*", f"--gtest_output=json:{report}"]
        try:
            status = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            return {"status": "ran past its limit", "passed": 0, "failed": 0, "ok": False}
        counts = {"tests": 0, "failures": 0, "time": "0s"}
        if os.path.exists(report):
            with open(report) as file:
                counts = json.load(file)
    passed = counts["tests"] - counts["failures"]
    return {"status": status, "passed": passed, "failed": counts["failures"], "time": counts["time"],
            "ok": status == 0 and passed > 0 and counts["failures"] == 0}


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", default=os.path.join(HERE, "result.json"))
    parser.add_argument("--skip-sanitizer", action="store_true")
    options = parser.parse_args()
    with open(os.path.join(HERE, "bundle.json")) as file:
        bundle = json.load(file)
    try:
        import torch
    except ImportError as error:
        stop(f"python3 has no torch ({error}); torch {bundle['torch']} with CUDA is needed")
    if torch.__version__.split("+")[0] != bundle["torch"] or not torch.version.cuda:
        stop(f"this bundle was built for torch {bundle['torch']} with CUDA, found {torch.__version__}")
    if not torch.cuda.is_available():
        stop("no GPU was found: torch sees no CUDA device on this machine; nothing was tested")

    properties = torch.cuda.get_device_properties(0)
    result = {"gpu": properties.name, "capability": f"{properties.major}.{properties.minor}", "torch": torch.__version__,
              "cuda": torch.version.cuda, "bundle": bundle}
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries(torch)}
    log_path = os.path.splitext(options.json)[0] + ".log"
    with open(log_path, "w") as log:
        result["tests"] = run_tests(environment, log)
        sanitizer = None if options.skip_sanitizer else shutil.which("compute-sanitizer")
        if sanitizer:
            result["sanitizer"] = run_tests(environment, log, [sanitizer, "--error-exitcode", "9"])
        rows = subprocess.run(
            [sys.executable, os.path.join(HERE, "gpu_rows.py"), "--library", os.path.join(HERE, "lib", "libweft.so")],
            env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    result["benchmark"] = json.loads(rows.stdout.splitlines()[-1]) if rows.stdout.strip() else {"rows": []}
    result["benchmark"]["status"] = rows.returncode
    with open(options.json, "w") as file:
        json.dump(result, file, indent=1)

    print(f"{result['gpu']} (sm_{properties.major}{properties.minor}), torch {torch.__version__}, weft at {bundle['commit']}\n")
    tests, checked = result["tests"], result.get("sanitizer")
    print(f"tests on CUDA: {tests['passed']} passed, {tests['failed']} failed")
    print(f"compute-sanitizer: {'no errors' if checked['ok'] else 'ERRORS, see the log'}" if checked
          else "compute-sanitizer: not run" if options.skip_sanitizer else "compute-sanitizer: not found")
    benchmark = result["benchmark"]
    if benchmark["rows"]:
        print(f"copy: {benchmark['copy_gb_s']:.0f} GB/s (read + written)\n")
        table([("row", "work", "peer", "weft", "peer's", "ratio", "GB/s", "of copy")] + [
            (row["name"], row["size"], row["peer"], f"{row['ours'] * 1e6:.1f} us", f"{row['theirs'] * 1e6:.1f} us",
             f"{row['ratio']:.2f}", f"{row['gb_s']:.0f}", f"{row['limit_ratio']:.2f}") for row in benchmark["rows"]])
    good = tests["ok"] and (not checked or checked["ok"]) and rows.returncode == 0
    print(f"\n{'all is well' if good else f'FAILED, see {log_path}'}; {options.json}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
