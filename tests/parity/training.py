#!/usr/bin/env python3
"""Trains a small dual encoder in PyTorch for 20 steps and writes all that is needed to do the same elsewhere.

    training.py OUT

OUT/image, OUT/text: the towers as Hugging Face folders; heads.safetensors: projections and logit_scale;
batches.safetensors: pixels [20, B, 3, H, W], ids and mask [20, B, N]; training.json: settings and the 20 losses.
"""
import json
import math
import os
import pathlib
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

import families

STEPS, BATCH, EMBED = 20, 16, 24
SETTINGS = dict(lr=2e-3, warmup=4, weight_decay=0.2, beta1=0.9, beta2=0.98, eps=1e-6)
WITHOUT_DECAY = ("position_embeddings", "cls_token")


def learning_rate(step):
    peak, warmup = SETTINGS["lr"], SETTINGS["warmup"]
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}")
    rng, generator = families.rng_of(seed, "training")
    torch.manual_seed(rng.randrange(2**31))
    shape = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, hidden_dropout_prob=0.0,
                 attention_probs_dropout_prob=0.0)
    image = transformers.ViTModel(transformers.ViTConfig(**shape, image_size=24, patch_size=8, attn_implementation="eager"), add_pooling_layer=False)
    text = transformers.BertModel(transformers.BertConfig(**shape, vocab_size=100, max_position_embeddings=16, attn_implementation="eager"),
                                  add_pooling_layer=False)
    image.save_pretrained(out / "image")
    text.save_pretrained(out / "text")
    heads = torch.nn.ModuleDict({"image_projection": torch.nn.Linear(96, EMBED), "text_projection": torch.nn.Linear(48, EMBED)})
    scale = torch.nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    save_file({**{k: v.detach().clone() for k, v in heads.named_parameters()}, "logit_scale": scale.detach().clone()}, out / "heads.safetensors")

    # Pairs that can be learned: ids follow from a class that also colours the image.
    kind = torch.randint(0, 30, (STEPS, BATCH), generator=generator)
    pixels = torch.randn(STEPS, BATCH, 3, 24, 24, generator=generator) + (kind[:, :, None, None, None] % 7 - 3) / 2
    length = torch.randint(4, 13, (STEPS, BATCH), generator=generator)
    mask = torch.arange(12) < length[:, :, None]
    ids = torch.where(torch.arange(12) % 3 == 0, 1 + kind[:, :, None], torch.randint(40, 100, (STEPS, BATCH, 12), generator=generator)) * mask
    save_file({"pixels": pixels, "ids": ids, "mask": mask}, out / "batches.safetensors")

    named = [*image.named_parameters(), *text.named_parameters(), *heads.named_parameters(), ("logit_scale", scale)]
    decays = lambda name, p: p.dim() >= 2 and not any(word in name for word in WITHOUT_DECAY)
    groups = [{"params": [p for n, p in named if decays(n, p)], "weight_decay": SETTINGS["weight_decay"]},
              {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(SETTINGS["beta1"], SETTINGS["beta2"]), eps=SETTINGS["eps"])
    image.train(), text.train()
    losses = []
    for step in range(STEPS):
        tokens = image(pixel_values=pixels[step]).last_hidden_state
        visual = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)
        keep = mask[step][:, :, None].float()
        words = (text(input_ids=ids[step], attention_mask=mask[step].long()).last_hidden_state * keep).sum(1) / keep.sum(1)
        a, b = F.normalize(heads["image_projection"](visual), dim=1), F.normalize(heads["text_projection"](words), dim=1)
        logits, target = scale.exp() * a @ b.t(), torch.arange(BATCH)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            scale.clamp_(0, math.log(100))
        losses.append(loss.item())
    (out / "training.json").write_text(json.dumps({**SETTINGS, "embed_dim": EMBED, "losses": losses}))


if __name__ == "__main__":
    main()
