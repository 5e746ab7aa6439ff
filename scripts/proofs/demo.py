"""The demo from its one command: top-1 among 100 new captions, and the time that it takes once it is built."""
import os
import sys
import tempfile

from common import ROOT, last_json, write_result

TOP1, SECONDS = 0.70, 300


def main():
    with tempfile.TemporaryDirectory() as out:
        result = last_json([ROOT / "scripts/demo", out])
        report = os.path.getsize(f"{out}/run/report.html")
    checks = {f"top-1 image to text >= {TOP1}": result["image_to_text"]["r1"] >= TOP1,
              f"rendering, training and evaluation <= {SECONDS} s on {os.cpu_count()} processors": result["process"] <= SECONDS,
              "report.html holds curves and thumbnails": report > 50_000}
    write_result("demo", {"report_bytes": report, "checks": checks, **result}, result["process"])
    sys.exit(not all(checks.values()))


main()
