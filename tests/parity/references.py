#!/usr/bin/env python3
"""Draws random configurations of every family and writes what transformers makes of them in fp64.

    references.py OUT [MODELS PHOTOS]

Seed: WEFT_PARITY_SEED, else fresh; OUT/seed.json holds it. OUT/<family>/<k>/ holds the Hugging Face folder
(k = 1 in bfloat16, 2 in shards, 3 saved from a model with a head), and
  case-<c>.safetensors   inputs, weight.<output> of a random linear functional, expected <output>
  gradients-<c>/         its gradient for every parameter, in the layout of the checkpoint
With MODELS: the same for the real weights found there, on real photos (a tar of samples) and captions.
"""
import json
import os
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file

import families
import language_models
import vlms

CONFIGURATIONS = 4


def save_model(family, k, config, rng, generator, folder):
    _, _, model_class, head_class = families.FAMILIES[family]
    model = (head_class if k == 3 else model_class)(config)
    families.randomize(model, generator)
    if k == 1:
        model = model.bfloat16()
    model.save_pretrained(folder, **({"max_shard_size": "20KB"} if k == 2 else {}))


def write_gradients(family, model, folder):
    """The gradients as a checkpoint: transformers' own writer names and lays them out."""
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.zeros_like(p) if p.grad is None else p.grad)
    model.save_pretrained(folder)


def write_cases(family, folder, rng, generator):
    pooler = families.has_pooler(folder)
    config = families.FAMILIES[family][0].from_pretrained(folder)
    for c, given in families.inputs(family, config, rng, generator).items():
        model, info = families.load(family, folder, pooler)
        assert not info["missing_keys"], info
        expected = families.run(family, model, given)
        tensors = {k: v for k, v in given.items()}
        loss = 0
        for name in ("tokens", "pooled"):
            if name in expected:
                weight = torch.randn(expected[name].shape, generator=generator)
                tensors[f"weight.{name}"] = weight
                loss = loss + (expected[name] * weight.double()).sum()
        loss.backward()
        tensors.update({k: v.detach() for k, v in expected.items()})
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / f"case-{c}.safetensors")
        write_gradients(family, model, folder / f"gradients-{c}")


def photos(tar_path, count):
    import io
    import tarfile

    from PIL import Image, ImageOps
    images, captions = [], []
    with tarfile.open(tar_path) as tar:
        for member in tar:
            data = tar.extractfile(member).read() if member.isfile() else b""
            if member.name.endswith((".jpg", ".png")) and len(images) < count:
                images.append(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
            elif member.name.endswith(".txt") and len(captions) < count:
                captions += data.decode().strip().splitlines()[:1]
            elif member.name.endswith(".json") and len(captions) < count:
                record = json.loads(data)
                captions += (record.get("captions") or [record["caption"]])[:1]
            if len(images) == count and len(captions) == count:
                break
    return images, captions


def write_real(models, tar_path, out):
    images, captions = photos(tar_path, 6)
    if (models / "dinov2-small").is_dir():
        import numpy
        resized = [i.resize((126, 126), 3) for i in images[:4]] + [images[4].resize((224, 168), 3), images[5].resize((518, 518), 3)]
        batches = {"0": resized[:4], "1": resized[4:5], "2": resized[5:]}
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        model, _ = families.load("dinov2", models / "dinov2-small")
        (out / "dinov2-small").mkdir(parents=True)
        for c, batch in batches.items():
            pixels = torch.stack([torch.from_numpy(numpy.array(i)).permute(2, 0, 1) for i in batch]).contiguous()
            normal = ((pixels / 255 - mean[:, None, None]) / std[:, None, None]).float()
            with torch.no_grad():
                expected = families.run("dinov2", model, {"pixels": normal})
            save_file({"pixels": normal, "bytes": pixels, **{k: v.contiguous() for k, v in expected.items()}}, out / f"dinov2-small/case-{c}.safetensors")
    if (models / "minilm-l6").is_dir():
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(str(models / "minilm-l6/tokenizer.json"))
        tokenizer.enable_padding()
        tokenizer.enable_truncation(128)
        encoded = tokenizer.encode_batch(captions)
        given = {"ids": torch.tensor([e.ids for e in encoded]), "mask": torch.tensor([e.attention_mask for e in encoded]).bool()}
        model, _ = families.load("bert", models / "minilm-l6")
        with torch.no_grad():
            expected = families.run("bert", model, given)
        (out / "minilm-l6").mkdir(parents=True)
        save_file({**given, **{k: v.contiguous() for k, v in expected.items()}}, out / "minilm-l6/case-0.safetensors")


def main():
    out = pathlib.Path(sys.argv[1])
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    out.mkdir(parents=True, exist_ok=True)
    (out / "seed.json").write_text(json.dumps({"seed": seed}))
    print(f"WEFT_PARITY_SEED={seed}", flush=True)
    for family, (config_class, draw, _, _) in families.FAMILIES.items():
        for k in range(CONFIGURATIONS):
            rng, generator = families.rng_of(seed, family, k)
            folder = out / family / str(k)
            save_model(family, k, config_class(**draw(rng, k)), rng, generator, folder)
            write_cases(family, folder, rng, generator)
    for family, (config_class, draw, _, _) in language_models.FAMILIES.items():
        for k in range(CONFIGURATIONS):
            rng, generator = families.rng_of(seed, family, k)
            folder = out / family / str(k)
            language_models.save_model(family, k, config_class(**draw(rng, k)), generator, folder)
            language_models.write_cases(family, folder, rng, generator, write_gradients)
    for family, (config_class, draw, _) in vlms.FAMILIES.items():
        for k in range(CONFIGURATIONS):
            rng, generator = families.rng_of(seed, family, k)
            folder = out / family / str(k)
            vlms.save_model(family, k, config_class(**draw(rng, k)), generator, folder)
            vlms.write_cases(family, folder, rng, generator, write_gradients)
    if len(sys.argv) > 3 and pathlib.Path(sys.argv[3]).is_file():
        write_real(pathlib.Path(sys.argv[2]), sys.argv[3], out / "real")
        language_models.write_real(pathlib.Path(sys.argv[2]), out / "real")


if __name__ == "__main__":
    main()
