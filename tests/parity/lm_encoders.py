#!/usr/bin/env python3
"""Decoders as text encoders: transformers' AutoModel, its last hidden states pooled.

    lm_encoders.py write OUT   OUT/<case>/: the model, case-0.safetensors (ids, mask, expected tokens, last and mean, weight.last and
                               weight.mean of a random linear functional), gradients-0/: its gradient, in the layout of the checkpoint
    lm_encoders.py check DIR ...   DIR/dual is weft's folder of a dual encoder, DIR/texts.json texts and DIR/rows.safetensors weft's unit rows of them,
                               which AutoModel and the saved tokenizer give again; exit status 1 where they do not
"""
import json
import os
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

import families
import language_models
from references import write_gradients

# case: family, its draw, and whether the head is saved with it
CASES = {"llama": ("llama", 0, True), "llama_bare": ("llama", 0, False), "qwen2": ("qwen2", 3, True), "qwen2_bare": ("qwen2", 0, False)}
LENGTH = 11


def pooled(tokens, mask):
    last = tokens[torch.arange(len(tokens)), mask.sum(1) - 1]
    return {"last": last, "mean": (tokens * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)}


def last_hidden(model, ids, mask):
    """[B, T, D], 0 for padding. Each text by itself: transformers' fp64 is not a number where a padding token sees padding only."""
    rows = [model(input_ids=row[None, :length]).last_hidden_state[0] for row, length in zip(ids, mask.sum(1).tolist())]
    return torch.stack([torch.nn.functional.pad(row, (0, 0, 0, ids.shape[1] - len(row))) for row in rows])


def load(case, folder):
    """The model as it was saved, and the part of it that is AutoModel."""
    family, _, head = CASES[case]
    model, info = language_models.load_fp64(language_models.FAMILIES[family][2 if head else 3], folder)
    assert not info["missing_keys"], info
    return model, model.model if head else model


def write(out):
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}")
    for case, (family, k, head) in CASES.items():
        rng, generator = families.rng_of(seed, "lm_encoders", case)
        config_class, draw, head_class, bare_class = language_models.FAMILIES[family]
        config = config_class(**dict(draw(rng, k), vocab_size=300, tie_word_embeddings=case == "qwen2"))
        model = (head_class if head else bare_class)(config)
        families.randomize(model, generator)
        model.save_pretrained(out / case)
        lengths = torch.tensor([LENGTH, 1, rng.randrange(2, LENGTH), rng.randrange(2, LENGTH)])
        mask = torch.arange(LENGTH)[None] < lengths[:, None]
        ids = torch.where(mask, torch.randint(3, config.vocab_size, mask.shape, generator=generator), 0)
        model, base = load(case, out / case)
        tokens = last_hidden(base, ids, mask)
        expected = {"tokens": tokens, **pooled(tokens, mask)}
        weights = {name: torch.randn(expected[name].shape, generator=generator) for name in ("last", "mean")}
        sum((expected[name] * weight.double()).sum() for name, weight in weights.items()).backward()
        tensors = {"ids": ids, "mask": mask, **{k: v.detach() for k, v in expected.items()}, **{f"weight.{k}": v for k, v in weights.items()}}
        save_file({k: v.contiguous() for k, v in tensors.items()}, out / case / "case-0.safetensors")
        write_gradients(case, model, out / case / "gradients-0")


def check(folder):
    dual = folder / "dual"
    config, heads = json.loads((dual / "config.json").read_text()), load_file(dual / "model.safetensors")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(dual / "tokenizer.json"), pad_token="<end>", padding_side="right")
    batch = tokenizer(json.loads((folder / "texts.json").read_text()), padding=True, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(dual / "text", dtype=torch.float32, attn_implementation="eager").double().eval()
    mask = batch["attention_mask"]
    with torch.no_grad():
        tokens = last_hidden(model, batch["input_ids"], mask)
        made = pooled(tokens, mask)[config["text_pool"]] @ heads["text_projection.weight"].double().T + heads["text_projection.bias"].double()
    expected = load_file(folder / "rows.safetensors")["rows"]
    difference = (torch.nn.functional.normalize(made, dim=-1) - expected).abs().max().item()
    print(f"{folder.name}: rows differ by {difference}")
    return difference <= 1e-5


if __name__ == "__main__":
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folders = list(map(pathlib.Path, sys.argv[2:]))
    if sys.argv[1] == "write":
        write(folders[0])
    else:
        sys.exit(not all([check(folder) for folder in folders]))
