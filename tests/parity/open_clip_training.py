#!/usr/bin/env python3
"""Trains a small open_clip model with open_clip's loss, clipping and parameter groups for 20 steps.

    open_clip_training.py OUT

OUT/<loss>/: the model as open_clip's folder before the first step, batches.safetensors (pixels [20, B, 3, H, W],
ids [20, B, N]), training.json: settings and the 20 losses. loss: infonce, sigmoid.
"""
import json
import math
import os
import pathlib
import sys

import open_clip
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from safetensors.torch import save_file

import families

STEPS, BATCH = 20, 16
SETTINGS = dict(lr=1e-3, warmup=4, weight_decay=0.2, beta1=0.9, beta2=0.98, eps=1e-6, grad_clip_norm=1.0)


def config(loss):
    out = dict(embed_dim=24, vision_cfg=dict(image_size=24, patch_size=8, layers=2, width=48, head_width=12),
               text_cfg=dict(context_length=12, vocab_size=100, width=40, heads=4, layers=2))
    return dict(out, init_logit_bias=-10.0, init_logit_scale=math.log(10)) if loss == "sigmoid" else dict(out, quick_gelu=True)


def learning_rate(step):
    peak, warmup = SETTINGS["lr"], SETTINGS["warmup"]
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2


def batches(generator):
    """Pairs that can be learned: ids follow from a class that also colours the image; the largest id ends the text."""
    kind = torch.randint(0, 30, (STEPS, BATCH), generator=generator)
    pixels = torch.randn(STEPS, BATCH, 3, 24, 24, generator=generator) + (kind[:, :, None, None, None] % 7 - 3) / 2
    length = torch.randint(4, 12, (STEPS, BATCH), generator=generator)
    place = torch.arange(12)
    ids = torch.where(place % 3 == 0, 1 + kind[:, :, None], torch.randint(40, 98, (STEPS, BATCH, 12), generator=generator))
    ids = ids * (place < length[:, :, None]) + 99 * (place == length[:, :, None])
    return pixels, ids


def train(loss_name, out, generator):
    out.mkdir(parents=True)
    cfg = config(loss_name)
    model = open_clip.CLIP(**cfg, output_dict=True)
    (out / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg}))
    save_file({k: v.clone().contiguous() for k, v in model.state_dict().items()}, out / "open_clip_model.safetensors")
    pixels, ids = batches(generator)
    save_file({"pixels": pixels, "ids": ids}, out / "batches.safetensors")
    # open_clip_train/main.py
    exclude = lambda n, p: p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW([
        {"params": [p for n, p in named if exclude(n, p)], "weight_decay": 0.0},
        {"params": [p for n, p in named if not exclude(n, p)], "weight_decay": SETTINGS["weight_decay"]},
    ], lr=SETTINGS["lr"], betas=(SETTINGS["beta1"], SETTINGS["beta2"]), eps=SETTINGS["eps"])
    criterion = SigLipLoss() if loss_name == "sigmoid" else ClipLoss()
    model.train()
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        loss = criterion(**model(pixels[step], ids[step]), output_dict=True)["contrastive_loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["grad_clip_norm"], norm_type=2.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append(loss.item())
    (out / "training.json").write_text(json.dumps({**SETTINGS, "losses": losses}))


def main():
    torch.set_num_threads(2)
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}")
    for loss in ("infonce", "sigmoid"):
        rng, generator = families.rng_of(seed, "open_clip_training", loss)
        torch.manual_seed(rng.randrange(2**31))
        train(loss, pathlib.Path(sys.argv[1]) / loss, generator)


if __name__ == "__main__":
    main()
