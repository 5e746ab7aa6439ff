"""scripts/gpu_check: the folder that a machine with a GPU gets, made of a build and run as far as this machine goes.

    python gpu_check_test.py GPU_CHECK BUILD
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

GPU_CHECK, BUILD = sys.argv.pop(1), sys.argv.pop(1)


def run(*command, **environment):
    return subprocess.run([str(c) for c in command], env={**os.environ, **environment}, capture_output=True, text=True)


class GpuCheck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        packed = run(GPU_CHECK, "pack", Path(cls.place.name, "packed"), "--from", BUILD)
        assert packed.returncode == 0, packed.stderr
        cls.folder = Path(cls.place.name, "moved")  # nothing may depend on where it was made
        shutil.move(Path(cls.place.name, "packed"), cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def test_stands_alone_and_is_small(self):
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        self.assertLess(sum(path.stat().st_size for path in files), 64 << 20)
        for path in [self.folder / "bin/weft_op_tests", *self.folder.glob("lib/libweft*.so")]:
            paths = [line for line in run("readelf", "-d", path).stdout.splitlines() if "RPATH" in line or "RUNPATH" in line]
            self.assertEqual(len(paths), 1)
            self.assertIn("[$ORIGIN", paths[0])
            self.assertNotIn(":", paths[0].split("[")[1])
            self.assertNotIn(".debug_info", run("readelf", "-S", path).stdout)

    def test_says_that_there_is_no_gpu(self):
        out = run(sys.executable, self.folder / "run", CUDA_VISIBLE_DEVICES="")
        self.assertEqual(out.returncode, 3, out.stderr)
        self.assertIn("no GPU was found", out.stderr)
        self.assertFalse((self.folder / "result.json").exists())

    def test_says_which_torch_it_wants(self):
        other = Path(self.place.name, "other")
        other.mkdir()
        (other / "torch.py").write_text("__version__ = '1.0.0'\nclass version: cuda = None\n")
        out = run(sys.executable, self.folder / "run", PYTHONPATH=str(other))
        self.assertEqual(out.returncode, 3, out.stderr)
        self.assertIn("was built for torch 2.", out.stderr)

    def test_tests_and_times_on_the_cpu(self):
        report = Path(self.place.name, "cpu.json")
        out = run(sys.executable, self.folder / "run", "--device", "cpu", "--json", report)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        result = json.loads(report.read_text())
        self.assertIn("no kernel was run", result["device"])
        self.assertGreater(result["tests"]["passed"], 20)
        names = {row["name"] for row in result["benchmark"]["rows"]}
        self.assertLessEqual({"patchify_16_nchw", "patchify_14_nhwc", "patch_embed_16_nchw"}, names)
        for row in result["benchmark"]["rows"]:
            self.assertGreater(row["ratio"], 0)
            self.assertLessEqual(row["error"], 0 if row["name"].startswith("patchify") else 0.02)

    def test_results_that_differ_fail(self):
        """The comparison itself: a library whose patches are off by one must not pass."""
        wrong = Path(self.place.name, "wrong.py")
        source = (self.folder / "gpu_rows.py").read_text()
        self.assertIn("sub_(128)", source)
        wrong.write_text(source.replace("sub_(128)", "sub_(127)"))
        out = run(sys.executable, wrong, "--library", self.folder / "lib/libweft.so", "--device", "cpu", "--batch", "1", "--pairs", "1",
                  LD_LIBRARY_PATH=str(self.folder / "lib"))
        self.assertEqual(out.returncode, 1, out.stderr)
        self.assertIn("patchify_16_nchw: results differ by", out.stderr)


if __name__ == "__main__":
    unittest.main()
