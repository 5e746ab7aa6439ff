#!/usr/bin/env python3
"""Trains a small LlavaForConditionalGeneration by LLaVA's two stages, 20 steps each.

    vlm_training.py OUT

OUT/stage<n>/: the model before the first step, batches.safetensors (ids, mask, labels [20, B, T], pixels [20, B, 3, S, S]),
training.json: settings and the 20 losses. Stage 1 trains the projector; stage 2 the projector and the language model.
"""
import json
import math
import os
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file

import families
import vlms

STEPS, BATCH = 20, 4
SETTINGS = dict(warmup=2, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_clip_norm=1.0)
RATES = {1: 1e-2, 2: 2e-3}


def learning_rate(peak, step):
    warmup = SETTINGS["warmup"]
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2


def batches(config, rng, generator):
    """Answers that can be learned: they follow from a class that also colours the image."""
    side, count, vocab = config.vision_config.image_size, vlms.visual_tokens(config), config.text_config.vocab_size
    out = {name: [] for name in ("ids", "mask", "labels", "pixels")}
    for _ in range(STEPS):
        rows, learned, pixels = [], [], []
        for _ in range(BATCH):
            kind = rng.randrange(5)
            question = [rng.randrange(4, vocab) for _ in range(rng.randrange(2, 6))]
            answer = [10 + kind, 20 + kind, 30 + kind][: rng.randrange(1, 4)]
            rows.append([vlms.IMAGE_TOKEN] * count + question + answer)
            learned.append(len(answer))
            pixels.append(torch.randn(3, side, side, generator=generator) + (kind - 2))
        length = max(map(len, rows))
        out["ids"].append([row + [0] * (length - len(row)) for row in rows])
        out["mask"].append([[True] * len(row) + [False] * (length - len(row)) for row in rows])
        out["labels"].append([[-100] * (len(row) - n) + row[len(row) - n:] + [-100] * (length - len(row)) for row, n in zip(rows, learned)])
        out["pixels"].append(torch.stack(pixels))
    longest = max(len(step[0]) for step in out["ids"])
    widen = lambda steps, fill: torch.tensor([[row + [fill] * (longest - len(row)) for row in step] for step in steps])
    return {"ids": widen(out["ids"], 0), "mask": widen(out["mask"], False), "labels": widen(out["labels"], -100), "pixels": torch.stack(out["pixels"])}


def trained(model, stage):
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("multi_modal_projector" in name or (stage == 2 and "vision_tower" not in name))
    return [p for p in model.parameters() if p.requires_grad]


def train(stage, out, rng, generator):
    out.mkdir(parents=True)
    draw = vlms.llava(rng, 0)
    draw["text_config"].update(vocab_size=64, initializer_range=0.2)
    config = transformers.LlavaConfig(**draw)
    model = transformers.LlavaForConditionalGeneration(config)
    model.save_pretrained(out)
    given = batches(config, rng, generator)
    save_file({k: v.contiguous() for k, v in given.items()}, out / "batches.safetensors")
    parameters = trained(model, stage)
    optimizer = torch.optim.AdamW(parameters, lr=RATES[stage], betas=(SETTINGS["beta1"], SETTINGS["beta2"]), eps=SETTINGS["eps"],
                                  weight_decay=SETTINGS["weight_decay"])
    model.train()
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RATES[stage], step)
        optimizer.zero_grad()
        loss = model(input_ids=given["ids"][step], attention_mask=given["mask"][step].long(), pixel_values=given["pixels"][step],
                     labels=given["labels"][step]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, SETTINGS["grad_clip_norm"])
        optimizer.step()
        losses.append(loss.item())
    (out / "training.json").write_text(json.dumps({**SETTINGS, "lr": RATES[stage], "losses": losses}))


def main():
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}")
    for stage in (1, 2):
        rng, generator = families.rng_of(seed, "vlm_training", str(stage))
        torch.manual_seed(rng.randrange(2**31))
        train(stage, pathlib.Path(sys.argv[1]) / f"stage{stage}", rng, generator)


if __name__ == "__main__":
    main()
