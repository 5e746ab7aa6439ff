"""The studies on tiny generated data: the table, the last line, the figures, and how wrong input ends."""
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import unittest
import xml.etree.ElementTree as xml

BIN = pathlib.Path(os.environ["WEFT_BIN"])
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")


def run(program, *arguments, status=0):
    done = subprocess.run([str(BIN / program), *map(str, arguments)], capture_output=True, text=True, timeout=120)
    if done.returncode != status:
        raise AssertionError(f"{program} {arguments} ended with {done.returncode}, expected {status}\n{done.stderr[-3000:]}")
    return done


class Studies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="weft_studies_"))
        run("scenes", "--out", cls.work, "--train", 192, "--val", 48, "--size", 32, "--seed", 1)
        cls.photos = cls.work / "photos"
        (cls.photos / "below").mkdir(parents=True)
        for name, files in (("train-000000.tar", 0), ("val-000000.tar", 12)):
            cls.label(cls.work / name, cls.work / f"labelled-{name}", files)
        (cls.photos / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        cls.classes = cls.work / "classes.json"
        cls.classes.write_text(json.dumps({"classes": SHAPES, "prompts": [f"a picture of a {shape}" for shape in SHAPES]}))
        cls.labelled = ["--train", cls.work / "labelled-train-000000.tar", "--val", cls.work / "labelled-val-000000.tar", "--classes", cls.classes]
        cls.tiny = ["--image-size", 32, "--width", 64, "--layers", 1, "--batch-size", 32, "--epochs", 1, "--seeds", 2]
        cls.model = cls.work / "clip"
        run("clip_train", "--train", cls.work / "train-*.tar", "--vision", "vit_tiny", "--text", "text_tiny", "--image-size", 32, "--batch-size", 32,
            "--max-steps", 1, "--vocab-size", 400, "--out", cls.model)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work)

    @classmethod
    def label(cls, source, target, files):
        """Images with the first shape of their caption as the class; the first `files` of them also in `photos`."""
        with tarfile.open(source) as old, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as new:
            members = {member.name: old.extractfile(member).read() for member in old}
            for count, name in enumerate(sorted(n for n in members if n.endswith((".png", ".jpg")))):
                key = name.rsplit(".", 1)[0]
                caption = (members.get(key + ".txt") or members[key + ".json"]).decode()
                first = min((s for s in SHAPES if s in caption), key=caption.index)
                for entry, data in ((name, members[name]), (key + ".cls", str(SHAPES.index(first)).encode())):
                    info = tarfile.TarInfo(entry)
                    info.size = len(data)
                    new.addfile(info, io.BytesIO(data))
                if count < files:
                    (cls.photos / ("below" if count % 2 else ".") / pathlib.Path(name).name).write_bytes(members[name])

    def study(self, program, *arguments):
        """The table's rows, the last line, and the folder of the figures, each well-formed."""
        out = self.work / program
        done = run(program, *arguments, "--out", out)
        *lines, last = done.stdout.strip().splitlines()
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        self.assertTrue(all(set(cell) == {"-"} for cell in table[1]), table[1])
        self.assertEqual({len(row) for row in table}, {len(table[0])})
        result = json.loads(last)
        self.assertEqual(result["study"], program)
        for figure in out.glob("*.svg"):
            self.assertEqual(xml.parse(figure).getroot().tag, "{http://www.w3.org/2000/svg}svg")
            self.assertLess(figure.stat().st_size, 60_000)
        return table[2:], result, out

    def spread_of(self, figure, seeds=2):
        self.assertEqual(len(figure["values"]), seeds)
        self.assertAlmostEqual(figure["mean"], sum(figure["values"]) / seeds)
        return figure["mean"]

    def test_modality_gap(self):
        table, result, out = self.study("modality_gap", "--train", self.work / "train-*.tar", "--val", self.work / "val-000000.tar", *self.tiny,
                                        "--patch-size", 8, "--vocab-size", 400, "--points", 2, "--val-images", 40, "--temperatures", 0, 0.5)
        self.assertEqual([row[0] for row in table], ["learned", "fixed 0.5"])
        self.assertEqual(result["images"], 40)
        for setting, row in zip(result["settings"], table):
            self.assertEqual([[point["step"] for point in run] for run in setting["runs"]], [[0, 3, 6]] * 2)
            for run_ in setting["runs"]:
                for point in run_:
                    self.assertTrue(0 < point["gap"] < 2 and point["alignment"] > 0 and point["uniformity_image"] < 0 and 0 <= point["r10"] <= 1, point)
            gap = self.spread_of(setting["gap"])
            self.assertAlmostEqual(gap, sum(run_[-1]["gap"] for run_ in setting["runs"]) / 2)
            self.assertTrue(row[4].startswith(f"{gap:.2f} ± "), row)
        # Before training a seed's weights are the same whatever the temperature; afterwards they are not.
        first, second = (setting["runs"][0] for setting in result["settings"])
        self.assertEqual(first[0]["gap"], second[0]["gap"])
        self.assertNotEqual(first[-1]["gap"], second[-1]["gap"])
        self.assertTrue((out / "modality_gap.svg").exists())
        self.assertIn("0.01 to 1, found", run("modality_gap", "--train", "x", "--val", "x", "--out", out, "--temperatures", 7, status=2).stderr)

    def test_patch_size(self):
        table, result, out = self.study("patch_size", *self.labelled, *self.tiny, "--patches", 8, 16)
        self.assertEqual([(p["patch"], p["tokens"]) for p in result["patches"]], [(8, 16), (16, 4)])
        for patch, row in zip(result["patches"], table):
            self.assertEqual(row[3], f"{100 * self.spread_of(patch['top1']):.1f} ± {100 * patch['top1']['deviation']:.1f} %")
            self.assertTrue(0 <= patch["top1"]["mean"] <= 1 and self.spread_of(patch["ms_an_image"]) > 0 and self.spread_of(patch["seconds_an_epoch"]) > 0)
        self.assertGreater(result["patches"][0]["flops"], result["patches"][1]["flops"])
        self.assertTrue((out / "patch_size.svg").exists())
        self.assertIn("found 64", run("patch_size", *self.labelled, *self.tiny, "--patches", 64, "--out", out, status=2).stderr)

    def test_encoder_probe(self):
        table, result, out = self.study("encoder_probe", *self.labelled, *self.tiny, "--patch-size", 8, "--raw-size", 4, "--max-iterations", 30,
                                        "--encoders", f"tower={self.model}/model/image", f"clip={self.model}")
        names = ["raw pixels, 4 a side", "ViT, random weights", "ViT, trained here", "tower", "clip", "clip, shared space"]
        self.assertEqual([row[0] for row in table], names)
        self.assertEqual([row[1] for row in table], ["48", "64", "64", "192", "192", "384"])
        for encoder in result["encoders"]:
            self.assertTrue(0 <= self.spread_of(encoder["top1"]) <= 1)
            self.assertTrue(len(encoder["c"]) == 2 and all(1e-6 <= c <= 1.01e6 for c in encoder["c"]), encoder)
        self.assertTrue((out / "encoder_probe.svg").exists())
        for word, status in (("nameless", 2), ("gone=/nowhere/at/all", 3)):
            self.assertIn("--encoders", run("encoder_probe", *self.labelled, "--out", out, "--encoders", word, status=status).stderr)

    def test_prompt_templates(self):
        templates = self.work / "templates.txt"
        templates.write_text("{}\na {} & more\na picture of a {}\n")
        common = ["--model", self.model, "--shards", self.labelled[3], "--classes", self.classes]
        table, result, out = self.study("prompt_templates", *common, "--templates", templates, "--seeds", 4)
        self.assertEqual([t["template"] for t in result["templates"]], ["{}", "a {} & more", "a picture of a {}"])
        # The classes' own prompts are the third template; an ensemble of all is the same in any order.
        self.assertEqual(result["own_prompts"], result["templates"][2]["top1"])
        first, second, whole = result["ensembles"]
        self.assertEqual(first["given_order"], result["templates"][0]["top1"])
        self.assertEqual(whole["given_order"], result["ensemble"])
        self.assertAlmostEqual(whole["mean"], result["ensemble"])
        self.assertAlmostEqual(whole["deviation"], 0)
        self.assertEqual(result["images"], 48)
        self.assertEqual(len(table), 3 + 2 + 3)
        self.assertTrue((out / "prompt_templates.svg").exists() and (out / "prompt_ensembles.svg").exists())
        # Labels from captions: images of which all captions name one shape and no other.
        with tarfile.open(self.work / "val-000000.tar") as val:
            captions = [val.extractfile(member).read().decode() for member in val if member.name.endswith(".txt")]
        named = [[shape for shape in SHAPES if shape in caption] for caption in captions]
        captioned = ["--model", self.model, "--shards", self.work / "val-000000.tar", "--classes", self.classes, "--from-captions", 1]
        _, result, _ = self.study("prompt_templates", *captioned, "--seeds", 1)
        self.assertEqual(result["images_by_class"], [sum(found == [shape] for found in named) for shape in SHAPES])
        self.assertEqual(result["images"], sum(len(found) == 1 for found in named))
        templates.write_text("no place for the class\n")
        self.assertIn("no place", run("prompt_templates", *common, "--templates", templates, "--out", out, status=3).stderr)

    def test_toy_retrieval(self):
        query = min(path for path in self.photos.iterdir() if path.is_file() and path.name != "damaged.png")
        common = ["--model", self.model, "--images", self.photos]
        table, result, out = self.study("toy_retrieval", *common, "--text", "a <red> circle", "--image", query, "--top", 3)
        self.assertEqual(result["images"], 12)
        text, image = result["queries"]
        self.assertEqual((text["kind"], text["query"], len(text["nearest"])), ("text", "a <red> circle", 3))
        self.assertEqual(image["nearest"][0]["file"], query.name)
        self.assertAlmostEqual(image["nearest"][0]["cosine"], 1, places=5)
        for found in (text, image):
            cosines = [hit["cosine"] for hit in found["nearest"]]
            self.assertEqual(cosines, sorted(cosines, reverse=True))
        self.assertEqual(len(table), 6)
        page = (out / "toy_retrieval.html").read_text()
        self.assertEqual(page.count("data:image/jpeg"), 3 + 3 + 1)
        self.assertIn("a &lt;red&gt; circle", page)
        self.assertNotIn("<red>", page)
        self.assertIn("damaged.png", run("toy_retrieval", *common, "--text", "x", "--out", out).stderr)
        run("toy_retrieval", *common, "--out", out, status=2)
        empty = self.work / "empty"
        empty.mkdir()
        self.assertIn("no image", run("toy_retrieval", "--model", self.model, "--images", empty, "--text", "x", "--out", out, status=3).stderr)
        self.assertIn("--images", run("toy_retrieval", "--model", self.model, "--images", empty / "no", "--text", "x", "--out", out, status=3).stderr)


if __name__ == "__main__":
    unittest.main()
