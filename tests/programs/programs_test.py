"""The programs from outside: what they print, how they end, and what a broken input or a killed run leaves."""
import io
import json
import math
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import tarfile
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ["WEFT_BIN"])
SHARED = pathlib.Path(os.environ.get("WEFT_SHARED", ""))
MODELS = pathlib.Path(os.environ.get("WEFT_MODELS_DIR", ""))
TINY = ["--vision", "vit_tiny", "--text", "text_tiny", "--image-size", "32", "--batch-size", "32"]
SMALL = ["--model", "vit_tiny", "--image-size", "32", "--batch-size", "32"]


def run(program, *arguments, status=0, stdin=None):
    done = subprocess.run([str(BIN / program), *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=300)
    if status is not None and done.returncode != status:
        raise AssertionError(f"{program} {arguments} ended with {done.returncode}, expected {status}\n{done.stderr[-3000:]}")
    return done


def last(done):
    return json.loads(done.stdout.strip().splitlines()[-1])


def rewrite(source, target, change):
    """Copies a tar; change(name, bytes) gives the new bytes, or None to leave the member out."""
    with tarfile.open(source) as old, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as new:
        for member in old:
            data = change(member.name, old.extractfile(member).read())
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))


class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="weft_programs_"))
        cls.data = cls.work / "scenes"
        run("scenes", "--out", cls.data, "--train", 320, "--size", 32, "--seed", 1)
        cls.train, cls.val = cls.data / "train-*.tar", cls.data / "val-000000.tar"
        cls.folder = cls.work / "run"
        cls.trained = run("clip_train", "--train", cls.train, "--val", cls.val, *TINY, "--epochs", 2, "--save-every", 5, "--out", cls.folder)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work)

    def labelled(self):
        """The first shards with labels in the place of captions: 0 where something is red, else 1 where something is blue, else 2."""
        labelled = self.work / "labelled"
        if labelled.exists():
            return labelled
        labelled.mkdir()
        for name in ("train-000000.tar", "val-000000.tar"):
            with tarfile.open(self.data / name) as old, tarfile.open(labelled / name, "w", format=tarfile.USTAR_FORMAT) as new:
                for member in (m for m in old if m.name.endswith((".png", ".jpg"))):
                    key, data = member.name.rsplit(".", 1)[0], old.extractfile(member).read()
                    caption = old.extractfile(f"{key}.txt").read().decode().split()
                    label = 0 if "red" in caption else 1 if "blue" in caption else 2
                    for target, data in ((member.name, data), (f"{key}.cls", str(label).encode())):
                        entry = tarfile.TarInfo(target)
                        entry.size = len(data)
                        new.addfile(entry, io.BytesIO(data))
        return labelled

    def test_a_trained_model_is_tuned_further(self):
        tuned = self.work / "tuned"
        done = run("clip_train", "--train", self.train, "--val", self.val, "--model", self.folder, "--batch-size", 32, "--max-steps", 4,
                   "--layer-decay", 0.75, "--ema-decay", 0.9, "--patch-dropout", 0.5, "--out", tuned)
        before, after = last(self.trained)["loss"], last(done)["loss"]
        self.assertLess(after, before + 0.5)  # it goes on from where training stood: a fresh model is at ln 32 = 3.47
        self.assertEqual(json.loads((tuned / "model/config.json").read_text())["model_type"], "weft_dual_encoder")
        run("clip_eval", "--model", tuned, "--shards", self.val)
        both = run("clip_train", "--train", self.train, "--model", tuned, *TINY, "--out", self.work / "both", status=2)
        self.assertIn("--model, or both --vision and --text", both.stderr)

    def decoder(self):
        """A small Llama with the run's vocabulary, whose tokenizer adds no special tokens and knows no padding; its tensors by name."""
        folder, rng = self.work / "decoder", random.Random(3)
        tokenizer = json.loads((self.folder / "tokenizer.json").read_text())
        width, inner, size, layers = 16, 24, len(tokenizer["model"]["vocab"]), 2
        shapes = {"model.embed_tokens.weight": (size, width), "model.norm.weight": (width,), "lm_head.weight": (size, width)}
        for i in range(layers):
            for name, shape in (("self_attn.q_proj", (width, width)), ("self_attn.k_proj", (width, width)), ("self_attn.v_proj", (width, width)),
                                ("self_attn.o_proj", (width, width)), ("mlp.gate_proj", (inner, width)), ("mlp.up_proj", (inner, width)),
                                ("mlp.down_proj", (width, inner)), ("input_layernorm", (width,)), ("post_attention_layernorm", (width,))):
                shapes[f"model.layers.{i}.{name}.weight"] = shape
        data = {name: struct.pack(f"<{math.prod(shape)}f", *((1 if len(shape) == 1 else 0) + rng.gauss(0, 0.2) for _ in range(math.prod(shape))))
                for name, shape in shapes.items()}
        folder.mkdir()
        header, at = {}, 0
        for name, bytes in data.items():
            header[name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": [at, at + len(bytes)]}
            at += len(bytes)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data.values()))
        (folder / "config.json").write_text(json.dumps({
            "model_type": "llama", "hidden_size": width, "num_attention_heads": 2, "num_hidden_layers": layers, "intermediate_size": inner, "vocab_size": size,
            "max_position_embeddings": 128, "tie_word_embeddings": False, "eos_token_id": 1}))
        tokenizer["post_processor"], tokenizer["padding"] = None, None
        tokenizer["added_tokens"] = [t for t in tokenizer["added_tokens"] if t["content"] != "<pad>"]
        del tokenizer["model"]["vocab"]["<pad>"]
        tokenizer["model"]["vocab"]["<unused>"] = 2
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        return folder, data

    def test_a_language_model_is_a_text_tower(self):
        folder, written = self.decoder()

        def tensors(path):
            bytes = path.read_bytes()
            begin = 8 + struct.unpack("<Q", bytes[:8])[0]
            header = json.loads(bytes[8:begin])
            header.pop("__metadata__", None)
            return {name: bytes[begin + entry["data_offsets"][0]:begin + entry["data_offsets"][1]] for name, entry in header.items()}

        def train(name, *more):
            return run("clip_train", "--train", self.train, "--val", self.val, "--vision", "vit_tiny", "--text", folder, "--image-size", 32,
                       "--batch-size", 32, "--max-steps", 4, "--out", self.work / name, *more)
        trained = last(train("decoder_last"))
        model = self.work / "decoder_last/model"
        config = json.loads((model / "text/config.json").read_text())
        self.assertEqual((config["model_type"], config["architectures"], config["eos_token_id"]), ("llama", ["LlamaForCausalLM"], 1))
        self.assertEqual(json.loads((model / "config.json").read_text())["text_pool"], "last")
        after = tensors(model / "text/model.safetensors")
        self.assertEqual({name for name in written if after[name] == written[name]}, {"lm_head.weight"})
        ids = last(run("inspect", "text", "--tokenizer", model, "a red circle", "--json"))["ids"]
        self.assertEqual(ids[-1], 1)
        self.assertNotIn(1, ids[:-1])
        again = last(run("clip_eval", "--model", self.work / "decoder_last", "--shards", self.val))
        self.assertEqual(again["text_to_image"], trained["text_to_image"])
        models = [json.loads(line) for line in run("inspect", "model", model, "--json").stdout.splitlines()]
        self.assertEqual([m["family"] for m in models], ["dual_encoder", "vit", "llama"])
        for name in (model, folder):
            rows = [json.loads(line)["embedding"] for line in run("embed", "--model", name, "--text", "a red circle", "two", "--json").stdout.splitlines()]
            self.assertAlmostEqual(sum(x * x for x in rows[0]), 1, places=4)
        run("clip_train", "--train", self.train, "--model", model, "--batch-size", 32, "--max-steps", 1, "--out", self.work / "decoder_tuned")

        train("decoder_mean", "--text-pooling", "mean", "--lock-text", "--grad-checkpointing")
        model = self.work / "decoder_mean/model"
        self.assertEqual(json.loads((model / "config.json").read_text())["text_pool"], "mean")
        self.assertEqual(tensors(model / "text/model.safetensors"), written)

    def test_open_clips_names_make_models(self):
        named = self.work / "named"
        run("clip_train", "--train", self.train, "--model", "ViT-S-32-alt", "--image-size", 32, "--batch-size", 32, "--max-steps", 1, "--out", named)
        config = json.loads((named / "model/image/config.json").read_text())
        self.assertEqual((config["model_type"], config["image_size"], config["hidden_size"]), ("clip_vision_model", 32, 384))
        failed = run("clip_train", "--train", self.train, "--model", "ViT-S-33", "--out", self.work / "none", status=2)
        self.assertIn("nearest: ViT-S-32", failed.stderr)

    def test_training_ends_in_one_line_of_json_and_fills_the_run_folder(self):
        result = last(self.trained)
        for way in ("image_to_text", "text_to_image"):
            self.assertEqual(set(result[way]), {"r1", "r5", "r10"})
            self.assertTrue(all(0 <= v <= 1 for v in result[way].values()))
        self.assertEqual(result["steps"], 20)
        self.assertAlmostEqual(sum(result["seconds"].values()), result["total"], delta=0.1)
        for name in ("config.json", "metrics.jsonl", "report.html", "model/config.json", "tokenizer.json"):
            self.assertTrue((self.folder / name).exists(), name)
        lines = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([line["step"] for line in lines], list(range(1, 21)))
        self.assertLess(lines[-1]["loss"], lines[0]["loss"])

    def test_evaluation_agrees_with_training_and_scores_swapped_captions(self):
        result = last(run("clip_eval", "--model", self.folder, "--shards", self.val, "--task", "retrieval", "--negatives", "swapped"))
        self.assertEqual(result["image_to_text"], last(self.trained)["image_to_text"])
        self.assertEqual(result["swapped"]["images"], 100)
        self.assertEqual(result["images"], 100)

    def test_the_tasks_with_labels_count_every_image(self):
        labelled = self.labelled()
        classes, templates, page = (self.work / name for name in ("classes.json", "templates.txt", "page.html"))
        classes.write_text(json.dumps(["red", "green", "blue"]))
        templates.write_text("a {} thing\n{c}\n")
        common = ["--shards", labelled / "val-000000.tar", "--classes", classes]

        def evaluate(task, model, *more):
            result = last(run("clip_eval", "--model", model, "--task", task, *common, *more))
            self.assertEqual((result["images"], result["classes"]), (100, ["red", "green", "blue"]))
            self.assertEqual(sum(map(sum, result["confusion"])), 100)
            self.assertAlmostEqual(result[f"{task}-val-top1"], sum(result["confusion"][i][i] for i in range(3)) / 100)
            self.assertEqual(result[f"{task}-val-top5"], 1)
            return result
        self.assertEqual(evaluate("zeroshot", self.folder)["prompts"], 3)
        self.assertEqual(evaluate("zeroshot", self.folder, "--templates", templates, "--report", page)["prompts"], 6)
        self.assertIn("confusion", page.read_text())
        train = ["--train-shards", labelled / "train-000000.tar"]
        self.assertEqual(evaluate("knn", self.folder, *train, "--k", 5, "--vote", "majority")["knn"], {"k": 5, "temperature": 0.07, "vote": "majority"})
        evaluate("knn", self.folder / "model/image", *train, "--pool", "mean")
        self.assertEqual(evaluate("linear-probe", self.folder, *train, "--projected", "--c", 1)["linear-probe"]["c"], 1)
        swept = evaluate("linear-probe", self.folder / "model/image", *train, "--max-iterations", 20, "--standardize")
        self.assertGreaterEqual(len(swept["linear-probe"]["sweep"]), 11)

        def message(*arguments, status=2):
            return run("clip_eval", "--model", self.folder, *common[:2], *arguments, status=status).stderr
        self.assertIn("there are: retrieval, zeroshot, linear-probe, knn", message("--task", "zero"))
        self.assertIn("needs --classes", message("--task", "zeroshot"))
        self.assertIn("needs --train", message("--task", "knn"))
        classes.write_text('["red"]')
        self.assertIn("has no class: there are 1", message("--task", "zeroshot", "--classes", classes, status=3))
        self.assertIn("missing_label", message("--task", "knn", "--train", self.val, status=5))

    def test_an_image_classifier_is_trained_evaluated_and_read_by_the_other_programs(self):
        train, val, out, classes = self.labelled() / "train-000000.tar", self.labelled() / "val-000000.tar", self.work / "classifier", self.work / "kinds.json"
        classes.write_text(json.dumps(["red", "blue", "neither"]))
        result = last(run("image_train", "--train", train, "--val", val, *SMALL, "--classes", classes, "--epochs", 6, "--warmup", 5,
                          "--label-smoothing", 0.05, "--scale", 0.9, 1, "--seed", 1, "--out", out))
        self.assertEqual((result["steps"], result["images"], result["classes"], result["classify-val-top5"]), (60, 100, ["red", "blue", "neither"], 1))
        self.assertAlmostEqual(result["classify-val-top1"], sum(result["confusion"][i][i] for i in range(3)) / 100)
        self.assertGreater(result["classify-val-top1"], 0.5)  # 59 are neither: how much more is learned in a minute differs by machine
        self.assertEqual(sum(result["confusion"][2]), 59)
        self.assertAlmostEqual(sum(result["seconds"].values()), result["total"], delta=0.1)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines() if "loss" in json.loads(line)]
        self.assertEqual([line["step"] for line in lines], list(range(1, 61)))
        self.assertLess(sum(line["loss"] for line in lines[-10:]) / 10, lines[0]["loss"] - 0.05)
        self.assertTrue(all((32 * line["accuracy"]).is_integer() for line in lines))
        page = (out / "report.html").read_text()
        for part in ("confusion", "accuracy of the batch", "learning rate", "label_smoothing"):
            self.assertIn(part, page)

        # The encoder inside, by the other programs.
        picture = self.picture()
        row = json.loads(run("embed", "--model", out, picture, "--json").stdout)["embedding"]
        self.assertEqual(row, json.loads(run("embed", "--model", out / "model/image", picture, "--json").stdout)["embedding"])
        self.assertAlmostEqual(sum(x * x for x in row), 1, places=4)
        models = [json.loads(line) for line in run("inspect", "model", out, "--json").stdout.splitlines()]
        self.assertEqual([m["family"] for m in models], ["image_classifier", "vit"])
        self.assertEqual(models[0]["classes"], ["red", "blue", "neither"])
        self.assertEqual([t["name"] for t in models[0]["tensors"]], ["head.weight", "head.bias"])
        for task in ("knn", "linear-probe"):
            probed = last(run("clip_eval", "--model", out, "--task", task, "--shards", val, "--train", train, *(["--c", 1] if task == "linear-probe" else [])))
            self.assertEqual(sum(map(sum, probed["confusion"])), 100)

        # A step that changes nothing shows what a model starts with: a classifier with its head, an encoder and a dual encoder's tower with a new one.
        def started(name, model, *arguments):
            done = run("image_train", "--train", train, "--batch-size", 32, "--max-steps", 1, "--lr", 0, "--model", model, "--out", self.work / name, *arguments)
            config = json.loads((self.work / name / "model/config.json").read_text())
            return config, *((self.work / name / "model" / part / "model.safetensors").read_bytes() for part in ("", "image")), done.stderr
        kept = json.loads((out / "model/config.json").read_text())
        head, tower = ((out / "model" / part / "model.safetensors").read_bytes() for part in ("", "image"))
        *tuned, log = started("tuned_classifier", out, "--layer-decay", 0.7, "--grad-checkpointing")
        self.assertEqual(tuned, [kept, head, tower])
        self.assertNotIn("a new one is trained", log)
        config, fresh, same, _ = started("fresh_head", out / "model/image")
        self.assertEqual((config["num_classes"], config["classes"], same), (3, [], tower))
        self.assertNotEqual(fresh, head)
        config, _, same, log = started("more_classes", out, "--num-classes", 4)
        self.assertEqual((config["num_classes"], same), (4, tower))
        self.assertIn("a new one is trained", log)
        config, _, same, _ = started("of_clip", self.folder)
        self.assertEqual((config["num_classes"], config["pool"]), (3, json.loads((self.folder / "model/config.json").read_text())["image_pool"]))
        self.assertEqual(same, (self.folder / "model/image/model.safetensors").read_bytes())

    def test_a_locked_encoder_runs_once_and_stays_as_it_is(self):
        train, val, out = self.labelled() / "train-000000.tar", self.labelled() / "val-000000.tar", self.work / "probe"
        arguments = ["image_train", "--train", train, "--val", val, "--model", self.folder / "model/image", "--lock-vision", "--epochs", 30,
                     "--batch-size", 64, "--lr", 0.01, "--out"]
        result = last(run(*arguments, out))
        self.assertEqual(set(result["seconds"]), {"models", "load", "image_features", "train", "classify", "evaluate"})
        self.assertGreater(result["classify-val-top1"], 0.5)
        self.assertEqual((out / "model/image/model.safetensors").read_bytes(), (self.folder / "model/image/model.safetensors").read_bytes())
        run(*arguments, self.work / "probe_again", "--max-steps", 70)
        run(*arguments, self.work / "probe_again", "--resume", "latest")
        self.assertEqual((out / "model/model.safetensors").read_bytes(), (self.work / "probe_again/model/model.safetensors").read_bytes())

    def test_image_train_says_what_is_wrong(self):
        train, classes = self.labelled() / "train-000000.tar", self.work / "two.json"
        classes.write_text('["red", "blue"]')

        def message(*arguments, status):
            return run("image_train", "--out", self.work / "wrong", *arguments, status=status).stderr
        self.assertIn("unknown task 'detect'; there are: classify", message("--train", train, *SMALL, "--task", "detect", status=2))
        self.assertIn("--patch-size", message("--train", train, "--model", self.folder, "--patch-size", 8, status=2))
        self.assertIn("names 2 classes, found 3", message("--train", train, *SMALL, "--classes", classes, "--num-classes", 3, status=2))
        self.assertIn("found the text encoder 'bert'", message("--train", train, "--model", self.folder / "model/text", status=3))
        self.assertIn("label 2 has no class: there are 2", message("--train", train, *SMALL, "--classes", classes, status=3))
        shutil.rmtree(self.work / "wrong")
        self.assertIn("missing_label", message("--train", self.train, *SMALL, status=5))
        self.assertIn("missing_label", message("--train", self.train, *SMALL, "--num-classes", 3, status=5))
        shutil.rmtree(self.work / "wrong")
        dry = last(run("image_train", "--train", train, *SMALL, "--epochs", 3, "--dry-run", "--lock-vision", "--out", self.work / "wrong"))
        self.assertEqual((dry["samples"], dry["batch"], dry["steps"], dry["trained_parameters"]), (320, 32, 30, 3 * 192 + 3))
        self.assertFalse((self.work / "wrong").exists())

    def picture(self):
        """The first image of the validation scenes as a file."""
        with tarfile.open(self.val) as tar:
            member = next(m for m in tar if m.name.endswith((".png", ".jpg")))
            picture = self.work / pathlib.Path(member.name).name
            picture.write_bytes(tar.extractfile(member).read())
        return picture

    def test_embed_gives_unit_vectors_of_images_and_texts(self):
        picture = self.picture()
        done = run("embed", "--model", self.folder, picture, "--text", "a red circle", "a blue square", "--json", "--similarity")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([next(iter(line)) for line in lines], ["image", "text", "text", "rows"])
        for line in lines[:3]:
            self.assertAlmostEqual(sum(x * x for x in line["embedding"]), 1, places=4)
        expected = sum(a * b for a, b in zip(lines[0]["embedding"], lines[1]["embedding"]))
        self.assertAlmostEqual(lines[3]["similarity"][0][0], expected, places=4)
        seen = last(run("inspect", "image", picture, "--json"))
        self.assertEqual((seen["width"], seen["height"], len(seen["rgb_sha256"])), (32, 32, 64))

    def test_generate_answers_with_a_real_model(self):
        model = MODELS / "smollm2-135m"
        if not (model / "model.safetensors").is_file():
            self.skipTest(f"{model} is absent")
        ask = ["generate", "--model", model, "--prompt", "What is the capital of France?", "--max-new-tokens", 24]
        streamed = run(*ask)
        result = last(streamed)
        self.assertIn("Paris", result["text"])
        self.assertTrue(streamed.stdout.startswith(result["text"]))
        self.assertEqual(last(run(*ask, "--json"))["ids"], result["ids"])
        beams = run(*ask, "--num-beams", 2)
        self.assertTrue(last(beams)["text"] and beams.stdout.startswith(last(beams)["text"]))
        document = json.loads((model / "tokenizer.json").read_text())
        known = json.loads((model / "config.json").read_text())["vocab_size"]
        document["added_tokens"].append({**document["added_tokens"][0], "id": known, "content": "<far>"})
        (self.work / "far.json").write_text(json.dumps(document))
        far = run("generate", "--model", model, "--prompt", "<far>", "--raw", "--tokenizer", self.work / "far.json", status=2)
        self.assertIn(f"'<far>' is id {known}, the model has {known}", far.stderr)
        stopped = last(run(*ask, "--stop", "Paris", "--json"))
        self.assertEqual((stopped["text"], stopped["finished"]), (result["text"].split("Paris")[0], True))
        self.assertLess(last(run(*ask, "--raw", "--json"))["prompt_tokens"], result["prompt_tokens"])
        bf16 = [last(run(*ask, "--precision", "bf16", "--json"))["ids"] for _ in range(2)]  # which may answer otherwise
        self.assertEqual(bf16[0], bf16[1])
        drawn = [last(run(*ask, "--temperature", 1.5, "--seed", seed, "--json"))["ids"] for seed in (1, 1, 2)]
        self.assertEqual(drawn[0], drawn[1])
        self.assertNotEqual(drawn[0], drawn[2])
        self.assertIn("top_p must be in (0, 1], got 2", run(*ask, "--top-p", 2, status=2).stderr)
        self.assertIn("config.json", run("generate", "--model", self.data, "--prompt", "x", "--tokenizer", model, "--raw", status=3).stderr)
        self.assertIn("model_type", run("generate", "--model", self.folder / "model/text", "--tokenizer", model, "--prompt", "x", "--raw", status=3).stderr)

    def test_inspect_shows_texts_models_and_shards(self):
        texts = ["a red circle", "ein <b>„Kreis“</b>\n"]
        done = run("inspect", "text", "--tokenizer", self.folder, "--stdin", "--json", stdin="".join(json.dumps(t) + "\n" for t in texts))
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(lines), 2)
        self.assertTrue(all(len(line["ids"]) == len(line["tokens"]) > 2 for line in lines))
        models = [json.loads(line) for line in run("inspect", "model", self.folder, "--json").stdout.splitlines()]
        self.assertEqual([m["family"] for m in models], ["dual_encoder", "vit", "bert"])
        self.assertTrue(all(m["flops_per_input"] > m["parameters"] > 0 for m in models[1:]))
        shards = last(run("inspect", "shards", self.train, "--json"))
        self.assertEqual((shards["samples"], shards["bad"]["total"]), (320, 0))

    def test_mistakes_end_with_their_status_and_say_what_to_do(self):
        def message(program, *arguments, status):
            return run(program, *arguments, status=status).stderr
        self.assertIn("--vision", message("clip_train", "--train", "x", "--text", "text_tiny", "--out", "x", status=2))
        self.assertIn("nearest: --batch-size", message("clip_train", "--batch-sise", "3", status=2))
        fresh = ["--out", self.work / "fresh", "--text", "text_tiny", "--image-size", 32, "--batch-size", 32]
        self.assertIn("vit_tiny", message("clip_train", "--train", self.train, "--vision", "vit_tinny", *fresh, status=2))
        self.assertIn("lr must not be negative, got -1", message("clip_train", "--train", self.train, "--vision", "vit_tiny", "--lr", "-1", *fresh, status=2))
        self.assertIn("nothing-*.tar", message("clip_train", "--train", self.work / "nothing-*.tar", "--vision", "vit_tiny", *fresh, status=3))
        self.assertIn("config.json", message("clip_eval", "--model", self.data, "--shards", self.val, status=3))
        self.assertIn("missing.png", message("embed", "--model", self.folder, self.work / "missing.png", status=3))
        (self.work / "page.jpg").write_text("<html></html>")
        self.assertIn("page.jpg", message("inspect", "image", self.work / "page.jpg", status=3))
        before = (self.folder / "config.json").read_bytes()
        self.assertIn("--resume", message("clip_train", "--train", self.train, *TINY, "--out", self.folder, status=2))
        self.assertEqual((self.folder / "config.json").read_bytes(), before)
        for program in ("clip_train", "clip_eval", "embed", "generate", "image_train", "inspect", "scenes"):
            self.assertIn("--", run(program, "--help").stdout)

    def test_a_dry_run_says_what_would_be_done_and_writes_nothing(self):
        done = run("clip_train", "--train", self.train, *TINY, "--epochs", 3, "--dry-run", "--out", self.work / "dry")
        self.assertEqual({k: last(done)[k] for k in ("samples", "batch", "steps")}, {"samples": 320, "batch": 32, "steps": 30})
        self.assertFalse((self.work / "dry").exists())

    def test_damage_is_counted_and_too_much_of_it_ends_with_5(self):
        rng, damaged = random.Random(5), {}

        def some(name, data):
            if name.endswith((".png", ".jpg")) and rng.random() < 0.02:
                damaged[name] = True
                return data[: len(data) // 2]
            return data
        light = self.work / "light"
        light.mkdir()
        rewrite(self.data / "train-000000.tar", light / "train-000000.tar", some)
        cut = (self.data / "val-000000.tar").read_bytes()
        (light / "train-000001.tar").write_bytes(cut[: len(cut) * 9 // 10])
        self.assertTrue(damaged)
        # Three epochs: the incomplete batch that ends one is not decoded.
        done = run("clip_train", "--train", light / "train-*.tar", *TINY, "--epochs", 3, "--out", self.work / "damaged")
        causes = last(done)["bad"]["by_cause"]
        self.assertEqual(causes.get("decode_error"), len(damaged))
        self.assertEqual(causes.get("cut_shard"), 1)
        heavy = self.work / "heavy"
        heavy.mkdir()
        rewrite(self.data / "train-000000.tar", heavy / "train-000000.tar",
                lambda name, data: data[:40] if name.endswith((".png", ".jpg")) and rng.random() < 0.3 else data)
        done = run("clip_train", "--train", heavy / "train-*.tar", *TINY, "--epochs", 1, "--out", self.work / "heavy_run", status=5)
        self.assertIn("train-000000.tar", done.stderr)

    def test_an_empty_shard_is_reported_by_inspect_and_refused_by_training(self):
        tarfile.open(self.work / "empty.tar", "w").close()
        (self.work / "zero.tar").touch()
        shards = "::".join(map(str, (self.work / "empty.tar", self.data / "val-000000.tar", self.work / "zero.tar")))
        seen = last(run("inspect", "shards", shards, "--json"))
        self.assertEqual((seen["samples"], seen["bad"]["by_cause"]), (100, {"empty_shard": 2}))
        self.assertEqual(set(seen["bad"]["by_shard"]), {str(self.work / "empty.tar"), str(self.work / "zero.tar")})
        for name in ("empty.tar", "zero.tar"):
            done = run("clip_train", "--train", self.work / name, *TINY, "--out", self.work / "none", status=3)
            self.assertIn(f"{name}: expected samples", done.stderr)
            self.assertIn("found an empty shard", done.stderr)

    def test_a_killed_run_resumes_to_the_same_bytes(self):
        self.kill_and_resume("clip", ["clip_train", "--train", self.train, *TINY, "--epochs", 6, "--save-every", 3, "--seed", 7, "--out"],
                             ("model/model.safetensors", "model/image/model.safetensors", "model/text/model.safetensors"))

    def test_a_killed_classifier_resumes_to_the_same_bytes(self):
        self.kill_and_resume("classifier", ["image_train", "--train", self.labelled() / "train-000000.tar", *SMALL, "--epochs", 3, "--save-every", 3,
                                            "--seed", 7, "--ema-decay", 0.9, "--drop-path", 0.2, "--head-dropout", 0.1, "--patch-dropout", 0.2, "--out"],
                             ("model/model.safetensors", "model/image/model.safetensors"))

    def kill_and_resume(self, name, arguments, files):
        calm, killed = self.work / f"{name}_calm", self.work / f"{name}_killed"
        run(*arguments, calm)
        process = subprocess.Popen([str(BIN / arguments[0]), *map(str, arguments[1:]), str(killed)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 120
        while time.time() < deadline and process.poll() is None and not list(killed.glob("checkpoints/step-*")):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        self.assertEqual(process.wait(), -signal.SIGKILL)  # it was still at work
        self.assertTrue(list(killed.glob("checkpoints/step-*")))
        run(*arguments, killed, "--resume", "latest")
        for name in files:
            self.assertEqual((calm / name).read_bytes(), (killed / name).read_bytes(), name)

        def losses(folder):
            return [(m["step"], m["loss"]) for m in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())]
        self.assertEqual(losses(calm), losses(killed))

    def test_a_term_signal_saves_and_ends_with_143(self):
        out = self.work / "stopped"
        process = subprocess.Popen([str(BIN / "clip_train"), "--train", str(self.train), *TINY, "--epochs", "500", "--out", str(out)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 120
        while time.time() < deadline and process.poll() is None and not (out / "metrics.jsonl").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 143)
        self.assertTrue(list(out.glob("checkpoints/step-*")))

    def test_max_steps_stops_and_resume_finishes_the_schedule(self):
        arguments = ["clip_train", "--train", self.train, *TINY, "--epochs", 2, "--out", self.work / "short"]
        self.assertEqual(last(run(*arguments, "--max-steps", 7))["steps"], 7)
        self.assertEqual(last(run(*arguments, "--resume", "latest"))["steps"], 20)

    def test_gradient_checkpointing_changes_no_loss(self):
        def losses(name, *flags):
            out = self.work / name
            run("clip_train", "--train", self.train, *TINY, "--max-steps", 8, "--seed", 3, "--out", out, *flags)
            return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        plain = losses("kept")
        self.assertEqual(len(plain), 8)
        self.assertEqual(plain, losses("computed_again", "--grad-checkpointing"))

    @unittest.skipUnless((MODELS / "dinov2-small").exists() and (SHARED / "data/flickr8k-128").exists(), "needs real weights and shared/data")
    def test_locked_real_towers_train_their_heads(self):
        done = run("clip_train", "--train", SHARED / "data/flickr8k-128/val-000000.tar", "--val", SHARED / "data/flickr8k-128/val-000000.tar",
                   "--vision", MODELS / "dinov2-small", "--text", MODELS / "minilm-l6", "--lock-vision", "--lock-text", "--image-size", 126,
                   "--batch-size", 100, "--epochs", 10, "--precision", "bf16", "--out", self.work / "lit")
        result = last(done)
        self.assertGreater(result["image_to_text"]["r10"], 0.5)  # seen in training: this is memory, not generalisation
        self.assertEqual(set(result["seconds"]), {"models", "load", "image_features", "text_features", "heads", "evaluate"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
