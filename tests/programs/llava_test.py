"""Training, asking and scoring of vision-language models from outside, with a real encoder and a real language model."""
import json
import math
import pathlib
import shutil
import tarfile
import tempfile
import unittest

from programs_test import MODELS, last, run

PARTS = ["--vision", MODELS / "dinov2-small", "--language", MODELS / "smollm2-135m", "--image-size", 28]


class Llava(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for name in ("dinov2-small", "smollm2-135m"):
            if not (MODELS / name / "model.safetensors").is_file():
                raise unittest.SkipTest(f"{MODELS / name} is absent")
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="weft_llava_"))
        run("scenes", "--out", cls.work / "scenes", "--train", 24, "--size", 32, "--seed", 1)
        cls.shards = cls.work / "scenes/train-*.tar"
        cls.images = cls.work / "images"
        cls.images.mkdir()
        rows = []
        with tarfile.open(cls.work / "scenes/train-000000.tar") as tar:
            for member in (m for m in tar if m.name.endswith((".png", ".jpg"))):
                key = member.name.rsplit(".", 1)[0]
                (cls.images / member.name).write_bytes(tar.extractfile(member).read())
                caption = tar.extractfile(f"{key}.txt").read().decode()
                rows.append({"id": key, "image": member.name, "conversations": [
                    {"from": "human", "value": "<image>\nWhat is in the image?"}, {"from": "gpt", "value": caption},
                    {"from": "human", "value": "Is there a circle?"}, {"from": "gpt", "value": "yes" if "circle" in caption else "no"}]})
        cls.rows, cls.data = rows, cls.work / "data.json"
        cls.data.write_text(json.dumps(rows))
        cls.first = cls.work / "s1"
        cls.trained = run("llava_train", "--stage", 1, *PARTS, "--data", cls.shards, "--batch-size", 8, "--max-steps", 2, "--out", cls.first)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work)

    def tune(self, out, *arguments, status=0):
        return run("llava_train", "--stage", 2, "--model", self.first, "--data", self.data, "--images", self.images, "--turns", "shared",
                   "--batch-size", 4, "--out", out, *arguments, status=status)

    def test_two_stages_a_talk_and_a_score(self):
        self.assertEqual(last(self.trained)["steps"], 2)
        out = self.work / "s2"
        result = last(self.tune(out, "--max-steps", 2, "--precision", "bf16"))
        self.assertEqual((result["steps"], result["samples"], result["bad"]["total"]), (2, 8, 0))
        for name in ("config.json", "metrics.jsonl", "report.html", "model/config.json", "model/vision/config.json", "model/language/config.json",
                     "model/tokenizer.json", "model/chat_template.jinja"):
            self.assertTrue((out / name).is_file(), name)
        picture = next(self.images.iterdir())
        ask = ["llava_chat", "--model", out, "--image", picture, "--max-new-tokens", 6]
        done = run(*ask, "--prompt", "What is in the image?", "--attention-map", out / "map.png")
        answer = last(done)
        self.assertTrue(done.stdout.startswith(answer["text"]))
        self.assertIn("4 visual tokens", done.stderr)
        self.assertEqual((out / "map.png").read_bytes()[:4], b"\x89PNG")
        self.assertEqual(last(run(*ask, "--prompt", "What is in the image?", "--json"))["ids"], answer["ids"])
        talk = run(*ask, stdin="What is in the image?\nIs there a circle?\n")
        self.assertTrue(talk.stdout.startswith(answer["text"]))
        shown = [json.loads(line) for line in run("inspect", "model", out, "--json").stdout.splitlines()]
        self.assertEqual([one.get("role", one["family"]) for one in shown], ["vlm", "vision", "language"])
        self.assertEqual((shown[0]["layout"], shown[0]["tokens_per_image"], shown[0]["tokenizer"]), ("weft", 4, True))
        self.assertEqual(shown[0]["parameters"], sum(one["parameters"] for one in shown[1:]) + sum(math.prod(t["shape"]) for t in shown[0]["tensors"]))
        score = ["llava_eval", "--model", out, "--data", self.data, "--images", self.images, "--max-new-tokens", 6]
        scored = last(run(*score, "--task", "vqa", "--single-turn", "--limit", 6, "--priors", self.data, "--out", out / "eval"))
        lines = [json.loads(line) for line in (out / "eval/predictions.jsonl").read_text().splitlines()]
        right = [line["answer"].lower().strip(" .") in [e.lower().strip(" .") for e in line["expected"]] for line in lines]
        self.assertEqual((scored["samples"], scored["accuracy"]), (6, sum(right) / 6))
        report = (out / "eval/report.html").read_text()
        self.assertEqual(report.count("<summary>each token of the answer</summary>"), 6)
        self.assertEqual(report.count("<figcaption>what the answer rests on</figcaption>"), 6)
        self.assertEqual(report.count("(right)</figcaption>"), sum(right))
        self.assertGreater(scored["answer_by_question"]["accuracy"], 0)
        self.assertEqual(scored["tokens"]["visual"], 6 * 4)
        self.assertGreater(scored["tokens"]["prompts"], scored["tokens"]["visual"])
        self.assertGreaterEqual(scored["tokens"]["answers"], 6)
        self.assertEqual(last(run(*score, "--task", "yes-no", "--single-turn", "--limit", 6, "--shuffle-images"))["samples"], 3)
        some = self.work / "some.json"
        some.write_text(json.dumps([*self.rows[:2], {"id": "odd", "conversations": []}, {**self.rows[2], "image": "absent.png"}]))
        damaged = run("llava_eval", "--model", out, "--data", some, "--images", self.images, "--max-new-tokens", 2)
        self.assertEqual((last(damaged)["samples"], last(damaged)["damaged"]), (4, 3))
        self.assertIn("found 0 turn(s)", damaged.stderr)
        self.assertGreaterEqual(last(run(*score, "--task", "caption", "--limit", 4, "--blind"))["bleu1"], 0)

    def test_tiles_of_larger_copies(self):
        out = self.work / "tiles"
        train = ["llava_train", "--stage", 1, *PARTS, "--tiling", "anyres", "--data", self.shards, "--batch-size", 4, "--out", out]
        # Most of a picture of 32 pixels is left by 2 x 2 tiles of 28 pixels: 4 tokens each, 4 ends of rows, and 4 tokens of the whole.
        self.assertIn("<image: 24 tokens>", run(*train, "--inspect", 1).stdout)
        self.assertEqual(last(run(*train, "--max-steps", 1))["steps"], 1)
        ask = run("llava_chat", "--model", out, "--image", next(self.images.iterdir()), "--prompt", "x", "--max-new-tokens", 1)
        self.assertIn("24 visual tokens", ask.stderr)

    def test_a_resampler_of_so_many_queries(self):
        shown = run("llava_train", "--stage", 1, *PARTS, "--connector", "resampler", "--num-queries", 3, "--data", self.shards, "--batch-size", 4,
                    "--out", self.work / "resampler", "--inspect", 1)
        self.assertIn("<image: 3 tokens>", shown.stdout)

    def test_adapters_are_written_for_peft_and_merged(self):
        out = self.work / "lora"
        self.tune(out, "--lora-rank", 4, "--max-steps", 1)
        config = json.loads((out / "adapter/adapter_config.json").read_text())
        self.assertEqual((config["peft_type"], config["r"], config["lora_alpha"]), ("LORA", 4, 8))
        self.assertTrue((out / "adapter/adapter_model.safetensors").is_file())
        self.assertTrue((out / "model/language/model.safetensors").is_file())

    def test_prefixes_see_themselves_in_training_and_talk(self):
        out = self.work / "prefix"
        fresh = ["llava_train", "--stage", 2, *PARTS, "--prefix-attention", "--tune", "connector", "--data", self.data, "--images", self.images,
                 "--batch-size", 4, "--max-steps", 1, "--out", out]
        self.assertIn("take the turns 'alone'", run(*fresh, "--turns", "shared", status=2).stderr)
        self.assertEqual(last(run(*fresh, "--turns", "alone"))["samples"], 4)
        self.assertTrue(json.loads((out / "model/config.json").read_text())["prefix_attention"])
        picture = next(self.images.iterdir())
        done = run("llava_chat", "--model", out, "--image", picture, "--prompt", "What is in the image?", "--max-new-tokens", 4, "--attention-map", out / "map.png")
        self.assertTrue(last(done)["ids"])

    def test_preferences_start_at_the_logarithm_of_two(self):
        data = self.work / "preferences.json"
        data.write_text(json.dumps([{**row, "conversations": row["conversations"][:1], "chosen": row["conversations"][1], "rejected": "nothing"}
                                    for row in self.rows[:8]]))
        train = ["llava_train", "--stage", 2, "--model", self.first, "--data", data, "--images", self.images, "--objective", "preference",
                 "--batch-size", 4, "--max-steps", 1, "--out", self.work / "dpo"]
        dry = last(run(*train, "--dry-run"))
        self.assertEqual((dry["batch"], dry["samples"], round(dry["loss"], 3)), (4, 8, 0.693))
        self.assertEqual((dry["steps"], last(run(*train, "--dry-run", "--accum-freq", 2))["steps"]), (2, 1))
        self.assertFalse((self.work / "dpo").exists())
        self.assertAlmostEqual(last(run(*train))["loss"], 0.6931, places=3)
        self.assertIn("take joint or alone", run(*train, "--turns", "shared", status=2).stderr)
        self.assertIn("takes --stage 2", run(train[0], *train[3:], status=2).stderr)

    def test_boxes_in_location_tokens_are_learned_saved_and_scored(self):
        data, out = self.work / "boxes.json", self.work / "boxes"
        box = "<loc0256><loc0128><loc0768><loc0640>"
        data.write_text(json.dumps([{**row, "conversations": [{"from": "human", "value": "<image>\nWhere is it?"}, {"from": "gpt", "value": box}]}
                                    for row in self.rows[:8]]))
        train = ["llava_train", "--model", self.first, "--data", data, "--images", self.images, "--box-vocabulary", "--batch-size", 4]
        self.assertIn("--tune needs it", run(*train, "--stage", 1, "--out", self.work / "x", status=2).stderr)
        # Four location tokens and the end of the turn.
        last(run(*train, "--stage", 2, "--max-steps", 1, "--out", out))
        line = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
        self.assertEqual(line["answer_tokens"], 4 * 5)
        added = {t["content"]: t["id"] for t in json.loads((out / "model/tokenizer.json").read_text())["added_tokens"]}
        self.assertEqual(len([t for t in added if t.startswith("<loc")]), 1024)
        self.assertEqual(json.loads((out / "model/language/config.json").read_text())["vocab_size"], added["<loc1023>"] + 1)
        score = ["llava_eval", "--model", out, "--data", data, "--images", self.images, "--task", "grounding", "--limit", 4, "--max-new-tokens", 5]
        scored = last(run(*score, "--out", out / "eval"))
        self.assertEqual((scored["truths"], scored["samples"]), (4, 4))
        self.assertIn("no right answer holds a box in the format plain", run(*score, "--data-format", "plain", status=3).stderr)
        # A blind question's box is in the picture that it was not shown; the vocabulary is there already.
        self.assertEqual(last(run(*score, "--blind"))["truths"], 4)
        again = ["llava_train", "--stage", 1, "--model", out, "--data", data, "--images", self.images, "--box-vocabulary", "--dry-run"]
        self.assertEqual(last(run(*again, "--batch-size", 4, "--out", self.work / "x"))["samples"], 8)

    def test_samples_are_shown_with_what_is_learned(self):
        done = self.tune(self.work / "shown", "--inspect", 1)
        self.assertIn("samples with 1 image (24 of 24): 4 visual tokens, 0.2 % of --max-length 2048", done.stderr)
        shown = done.stdout
        self.assertRegex(shown, r"^\S+ \(32 x 32 pixels\): 4 visual tokens, 0.2 % of --max-length 2048\n")
        self.assertIn("<image: 4 tokens>", shown)
        self.assertIn("another question about the same", shown)
        self.assertRegex(shown, r"\[\[(yes|no)<\|im_end\|>\]\]")

    def test_bad_input_is_counted_or_refused(self):
        def message(rows, *arguments, status):
            data = self.work / "bad.json"
            data.write_text(json.dumps(rows))
            return run("llava_train", "--stage", 2, "--model", self.first, "--data", data, "--images", self.images, "--batch-size", 4,
                       "--max-steps", 1, "--out", self.work / "bad", "--dry-run", *arguments, status=status).stderr
        good = self.rows[:8]
        missing = [*good, {**good[0], "image": "absent.png"}]
        self.assertIn("absent.png: no such file", message(missing, "--max-bad-fraction", 0, "--batch-size", 9, status=5))
        odd = [*good, {**good[0], "conversations": good[0]["conversations"][:3]}]
        self.assertIn("expected an answer at the end", message(odd, "--max-bad-fraction", 0, status=5))
        marks = [*good, {**good[0], "conversations": [{"from": "human", "value": "<image><image>"}, {"from": "gpt", "value": "x"}]}]
        self.assertIn("1 image(s), and 2 mark(s)", message(marks, "--max-bad-fraction", 0, "--batch-size", 9, status=5))
        self.assertIn("hold no answer yet", message(good, "--max-length", 12, status=5))
        self.assertIn("--vision and --language", run("llava_train", "--data", self.data, "--out", self.work / "x", status=2).stderr)
        self.assertIn("nearest", run("llava_train", *PARTS, "--connector", "mlp2x_gel", "--data", self.data, "--out", self.work / "x", status=2).stderr)
        cut = self.work / "cut"
        shutil.copytree(self.first / "model", cut)
        weights = cut / "language/model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1_000_000])
        self.assertIn("model.safetensors", run("llava_chat", "--model", cut, "--prompt", "x", status=3).stderr)


if __name__ == "__main__":
    unittest.main()
