"""The studies of vision-language training (scripts/studies): their data, and every study from flags to table and plots, with programs that
only write what the real ones write. Needs no package of Python's but Pillow for the pictures of words."""
import argparse
import importlib
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(tempfile.mkdtemp(prefix="weft_fake_"))
os.environ["WEFT_BIN"] = str(BIN)
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "scripts/studies"))
import page
import study
from plot import ticks

# As many words are learned as the answers have; a model's "accuracy" hangs on its flags alone, and is lower with other images.
PROGRAMS = {"llava_train": """
rows, batch = json.loads(pathlib.Path(flag("data")).read_text()), int(flag("batch-size"))
out, steps = pathlib.Path(flag("out")), int(flag("total-steps"))
(out / "model").mkdir(parents=True)
header = json.dumps({"__metadata__": {"format": "pt"}, "connector.layers_0.weight": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}})
(out / "model/model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(60))
(out / "checkpoints").mkdir()
with (out / "metrics.jsonl").open("w") as file:
    for step in range(steps):
        turns = [t["value"] for i in range(batch) for t in rows[(step * batch + i) % len(rows)]["conversations"]]
        file.write(json.dumps({"step": step + 1, "samples": batch * (step + 1), "loss": 3 / (step + 1), "samples_per_second": batch / 0.5,
                               "tokens": sum(map(len, turns)), "answer_tokens": sum(len(t.split()) for t in turns[1::2])}) + "\\n")
print(json.dumps({"steps": steps, "samples": steps * batch, "seconds": {"train": 0.5 * steps}}))
""", "llava_eval": """
rows = json.loads(pathlib.Path(flag("data")).read_text())[:int(flag("limit", "0")) or None]
images = sum(t["value"].count("<image>") for row in rows for t in row["conversations"])
tokens = {"prompts": 10 * len(rows) + 9 * images, "visual": 9 * images, "answers": 2 * len(rows)}
result = {"tokens": tokens, "damaged": 0, "seconds": {"answers": 0.01 * len(rows)}}
share = 0.25 if "--shuffle-images" in sys.argv else 0.75
if flag("task") == "caption":
    result.update(cider=share, samples=len(rows))
else:
    kinds = {}
    for row in rows:
        kinds.setdefault("yes/no" if row["conversations"][1]["value"] in ("yes", "no") else "other", []).append(row)
    scored = {"accuracy": share, "samples": len(rows), "by_kind": {k: {"accuracy": share, "samples": len(r)} for k, r in kinds.items()}}
    result.update(scored, **({"answer_by_question": scored} if flag("priors", "") else {}))
if flag("out", ""):
    out = pathlib.Path(flag("out"))
    out.mkdir(parents=True, exist_ok=True)
    said = lambda row: "?" if share < 0.5 else row["conversations"][1]["value"].lower()
    (out / "predictions.jsonl").write_text("".join(json.dumps({"id": row["id"], "answer": said(row), "expected": [row["conversations"][1]["value"]]})
                                                   + "\\n" for row in rows))
print("a line that is no result")
print(json.dumps(result))
"""}
PREAMBLE = """#!/usr/bin/env python3
import json, pathlib, sys
sys.dont_write_bytecode = True
def flag(name, default=None):
    return sys.argv[sys.argv.index("--" + name) + 1] if "--" + name in sys.argv else default
"""
SIZES = {"projectors": {"steps": 4, "questions": 20, "seeds": [0, 1]}, "token_budget": {"sizes": [28, 56], "images": [1, 3], "steps": 3},
         "anyres": {"steps": 3, "questions": 4}, "stages": {"stage1_steps": 2, "stage2_steps": 5, "questions": 20, "photos": 4},
         "caption_noise": {"stage1_steps": 2, "stage2_steps": 3, "questions": 20, "photos": 4}}
ROWS = {"projectors": 5 + 1, "token_budget": 4 + 1, "anyres": 2 * 5, "stages": 2, "caption_noise": 4}


def setUpModule():
    for name, text in PROGRAMS.items():
        (BIN / name).write_text(PREAMBLE + text)
        (BIN / name).chmod(0o755)


def tearDownModule():
    shutil.rmtree(BIN)


class Data(unittest.TestCase):
    def test_a_share_of_captions_changes_places(self):
        items = [f"caption {i}" for i in range(40)]
        moved = {}
        for share in (0, 0.25, 0.5, 1):
            out = study.exchanged(items, share, random.Random(1))
            self.assertEqual(sorted(out), sorted(items))
            moved[share] = {i for i, (a, b) in enumerate(zip(items, out)) if a != b}
            self.assertEqual(len(moved[share]), round(40 * share))
        self.assertTrue(moved[0.25] < moved[0.5] < moved[1])

    def test_words_of_validation_are_new_and_their_letters_are_not(self):
        anyres = importlib.import_module("anyres")
        for letters in (2, 3):
            seen, new = anyres.words(letters)
            self.assertFalse(set(seen) & set(new))
            self.assertEqual(len(new), round(0.2 * (len(seen) + len(new))))
            for i in range(letters):
                self.assertLessEqual({word[i] for word in new}, {word[i] for word in seen})

    def test_epochs_suffice_for_the_steps(self):
        for steps, rows, batch in ((10, 40, 4), (11, 43, 4), (3, 3, 4)):
            flags = study.length(steps, rows, batch)
            self.assertGreaterEqual(flags[3] * max(rows // batch, 1), steps)

    def test_easy_vqa_is_balanced_and_free_of_marks_within(self):
        if not study.LLAVA.is_dir():
            self.skipTest(f"{study.LLAVA} is absent")
        for row in study.easy_vqa(50):
            answers = [turn["value"] for turn in row["conversations"][1::2]]
            self.assertLessEqual(max(answers.count("yes"), answers.count("no")), 1)
            self.assertEqual([turn["value"].count("<image>") for turn in row["conversations"][::2]], [1] + [0] * (len(answers) - 1))
        self.assertEqual(study.easy_vqa(50), study.easy_vqa(50))

    def test_the_control_marks_what_it_is_not_parted_from(self):
        self.assertEqual(study.against_control([0.5], [0.25], 400), "50.0 ± 2.5")
        self.assertEqual(study.against_control([0.5], [0.45], 400), "50.0 ± 2.5 †")
        self.assertEqual(study.percent([0.5, 0.6, 0.7], 400), "60.0 ± 10.0")

    def test_ticks(self):
        self.assertEqual(ticks(0, 100), [0, 20, 40, 60, 80, 100])
        self.assertEqual(ticks(0.13, 0.29), [0.15, 0.2, 0.25])


class Runs(unittest.TestCase):
    def setUp(self):
        if not study.LLAVA.is_dir() or not study.FLICKR.is_dir():
            self.skipTest(f"{study.LLAVA} or {study.FLICKR} is absent")
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="weft_study_"))
        self.addCleanup(shutil.rmtree, self.work)

    def of(self, name):
        """A study's result, its table and its plots, in `work`."""
        module = importlib.import_module(name)
        settings = {flag: default for flag, (default, _) in module.FLAGS.items()} | SIZES[name]
        figures = module.run(argparse.Namespace(**settings), self.work)
        result = json.loads(json.dumps({"settings": settings, "command": f"scripts/study {name}", "seconds": 60, "precision": "fp32",
                                        "processor": "2 x none", "commit": "0", **figures}))
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in module.lines(result) if line.startswith("|")]
        self.assertEqual({len(row) for row in table}, {len(table[0])})
        self.assertEqual(len(table) - 2, ROWS[name])
        module.draw(result, self.work / f"study_{name}")
        for plot in self.work.glob("*.svg"):
            self.assertEqual(xml.parse(plot).getroot().tag, "{http://www.w3.org/2000/svg}svg")
            self.assertNotIn("nan", plot.read_text())
        self.assertFalse(list(self.work.glob("*/checkpoints")))
        (self.work / f"study_{name}.json").write_text(json.dumps(result))
        text = "".join(f"<!-- {other} -->\n<!-- end -->\n" for other in page.NAMES)
        filled = page.filled(text, self.work)
        self.assertEqual(filled.count("Not run so far."), len(page.NAMES) - 1)
        self.assertEqual(page.filled(filled, self.work), filled)
        return result, table[2:]

    def test_projectors(self):
        result, table = self.of("projectors")
        self.assertEqual([len(runs) for runs in result["connectors"].values()], [2] * 5)
        first = result["connectors"]["linear"][0]
        self.assertEqual((first["parameters"], first["visual_tokens"], first["prefill_ms"]), (15, 9, 10))
        self.assertEqual((first["accuracy"], first["shuffled_images"]), ({"all": 0.75, "not_yes_no": 0.75}, {"all": 0.25, "not_yes_no": 0.25}))
        self.assertEqual(first["questions"], {"all": 20, "not_yes_no": 12})
        self.assertEqual(len({run["supervised_tokens"] for runs in result["connectors"].values() for run in runs}), 1)
        self.assertEqual(table[0][3], "75.0 ± 0.0")

    def test_finished_runs_are_kept_and_other_settings_refused(self):
        self.of("projectors")
        before = {path: path.stat().st_mtime_ns for path in self.work.rglob("metrics.jsonl")}
        self.of("projectors")
        self.assertEqual({path: path.stat().st_mtime_ns for path in self.work.rglob("metrics.jsonl")}, before)
        (self.work / "linear-0/done.json").unlink()
        self.of("projectors")
        changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
        self.assertEqual([path.parent.name for path in changed], ["linear-0"])
        SIZES["projectors"]["steps"] += 1
        try:
            with self.assertRaisesRegex(SystemExit, "other arguments"):
                self.of("projectors")
        finally:
            SIZES["projectors"]["steps"] -= 1

    def test_token_budget(self):
        result, _ = self.of("token_budget")
        self.assertEqual((result["without_images"]["visual_tokens"], result["without_images"]["prompt_tokens"]), (0, 10))
        self.assertEqual([(p["size"], p["images"], p["prefill"]["visual_tokens"]) for p in result["points"]], [(28, 1, 9), (28, 3, 27), (56, 1, 9), (56, 3, 27)])
        for point in result["points"]:
            self.assertTrue(point["step"]["peak_mb"] > 0 and point["prefill"]["peak_mb"] > 0)
            self.assertEqual(point["step"]["seconds"], 0.5)

    def test_anyres(self):
        try:
            importlib.import_module("PIL")
        except ImportError:
            self.skipTest("Pillow is absent")
        result, table = self.of("anyres")
        for (run,) in result["arms"].values():
            self.assertEqual([one["words"] for one in run["own_images"]], [4] * 5)
            self.assertEqual([(one["exact"], one["letters"]) for one in run["own_images"]], [(1, 1)] * 5)
            self.assertEqual([(one["exact"], one["letters"]) for one in run["shuffled_images"]], [(0, 0)] * 5)
        self.assertEqual(result["words_of_training"] + result["words_of_validation"], 60)
        from PIL import Image
        with Image.open(self.work / "train/0.png") as image:
            self.assertEqual(image.size, (140, 140))
            for corner in ((0, 0, 70, 70), (70, 0, 140, 70), (0, 70, 70, 140), (70, 70, 140, 140)):
                self.assertLess(image.convert("L").crop(corner).getextrema()[0], 128, corner)

    def test_stages(self):
        result, table = self.of("stages")
        self.assertEqual([row[0] for row in table], ["stage 2 alone", "both"])
        alone, both = (runs[0] for runs in result["arms"].values())
        self.assertIsNone(alone["stage1"])
        self.assertEqual((both["stage1"]["steps"], both["stage2"]["steps"], both["captions"]), (2, 5, {"cider": 0.75, "shuffled_images": 0.25}))
        arguments = json.loads((self.work / "stage2-both-0/arguments.json").read_text())
        self.assertEqual(arguments[arguments.index("--model") + 1], str(self.work / "stage1-0"))

    def test_caption_noise(self):
        result, table = self.of("caption_noise")
        self.assertEqual([row[0] for row in table], ["0%", "25%", "50%", "100%"])
        files = [json.loads((self.work / f"captions-32-{noise}.json").read_text()) for noise in ("0", "0.25", "0.5", "1")]
        clean, *noisy = [[row["conversations"][1]["value"] for row in rows] for rows in files]
        self.assertEqual([sum(a != b for a, b in zip(clean, other)) for other in noisy], [8, 16, 32])
        self.assertTrue(all((self.work / "photos" / row["image"]).is_file() for row in files[0]))

    def test_unequal_supervision_ends_a_study(self):
        with self.assertRaisesRegex(SystemExit, "unequal"):
            study.same_supervision({"a": {"supervised_tokens": 5}, "b": {"supervised_tokens": 6}})


class Page(unittest.TestCase):
    def test_tables_are_those_of_the_results(self):
        text = page.PAGE.read_text()
        self.assertEqual(page.filled(text), text)

    def test_every_study_has_its_row_among_the_claims(self):
        claims = (ROOT / "docs/maintaining.md").read_text()
        script = (ROOT / "scripts/study").read_text()
        for name in page.NAMES:
            self.assertIn(f"`scripts/study {name}` -> `docs/results/study_{name}.json`", claims)
            self.assertRegex(script, rf"#   scripts/study {name} ")
        self.assertEqual(set(page.NAMES) | {"page", "study"}, {path.stem for path in (ROOT / "scripts/studies").glob("*.py")})


if __name__ == "__main__":
    unittest.main()
