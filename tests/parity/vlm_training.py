#!/usr/bin/env python3
"""Trains a small LlavaForConditionalGeneration by LLaVA's recipe, 20 steps each.

    vlm_training.py OUT

OUT/<run>/: the model before the first step, batches.safetensors (ids, mask, labels [20, B, T], pixels [20, B, 3, S, S]),
training.json: settings and the 20 losses. stage1 trains the projector, stage2 the projector and the language model; lora the
projector and PEFT's adapters, which adapter/ holds as they start; dpo all that stage2 does, on rows that are a chosen and a
rejected answer in turns.
"""
import copy
import json
import math
import os
import pathlib
import sys

import peft
import torch
import transformers
from safetensors.torch import save_file

import families
import vlms

STEPS, BATCH = 20, 4
SETTINGS = dict(warmup=2, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, grad_clip_norm=1.0)
RATES = {"stage1": 3e-3, "stage2": 1e-3, "lora": 2e-3, "dpo": 3e-4}
BETA = 0.3


def learning_rate(peak, step):
    warmup = SETTINGS["warmup"]
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup))) / 2


def batches(config, rng, generator, pairs):
    """Answers that can be learned: they follow from a class that also colours the image."""
    side, vocab = config.vision_config.image_size, config.text_config.vocab_size
    count = (side // config.vision_config.patch_size) ** 2  # without the class token
    out = {name: [] for name in ("ids", "mask", "labels", "pixels")}
    for _ in range(STEPS):
        rows, learned, pixels = [], [], []
        for _ in range(BATCH):
            rejected = pairs and len(rows) % 2 == 1
            if not rejected:
                kind = rng.randrange(5)
                question = [rng.randrange(4, vocab) for _ in range(rng.randrange(2, 6))]
            told = (kind + 1) % 5 if rejected else kind
            answer = [10 + told, 20 + told, 30 + told][: rng.randrange(1, 4)]
            rows.append([vlms.IMAGE_TOKEN] * count + question + answer)
            learned.append(len(answer))
            pixels.append(pixels[-1] if rejected else torch.randn(3, side, side, generator=generator) + (kind - 2))
        length = max(map(len, rows))
        out["ids"].append([row + [0] * (length - len(row)) for row in rows])
        out["mask"].append([[True] * len(row) + [False] * (length - len(row)) for row in rows])
        out["labels"].append([[-100] * (len(row) - n) + row[len(row) - n:] + [-100] * (length - len(row)) for row, n in zip(rows, learned)])
        out["pixels"].append(torch.stack(pixels))
    longest = max(len(step[0]) for step in out["ids"])
    widen = lambda steps, fill: torch.tensor([[row + [fill] * (longest - len(row)) for row in step] for step in steps])
    return {"ids": widen(out["ids"], 0), "mask": widen(out["mask"], False), "labels": widen(out["labels"], -100), "pixels": torch.stack(out["pixels"])}


def trained(model, run):
    for name, parameter in model.named_parameters():
        language = "lora_" in name if run == "lora" else run != "stage1" and "vision_tower" not in name
        parameter.requires_grad_("multi_modal_projector" in name or language)
    return [p for p in model.parameters() if p.requires_grad]


def logits_of(model, given, step):
    return model(input_ids=given["ids"][step], attention_mask=given["mask"][step].long(), pixel_values=given["pixels"][step]).logits


def log_probs(model, given, step):
    """Summed over each row's answer: chosen and rejected ones [B / 2]."""
    labels = given["labels"][step][:, 1:]
    each = torch.log_softmax(logits_of(model, given, step)[:, :-1], -1).gather(2, labels.clamp(min=0)[:, :, None])[:, :, 0]
    rows = (each * (labels != -100)).sum(1)
    return rows[0::2], rows[1::2]


def dpo_loss(model, reference, given, step):
    """Rafailov et al. (2023), equation 7."""
    chosen, rejected = log_probs(model, given, step)
    with torch.no_grad():
        reference_chosen, reference_rejected = log_probs(reference, given, step)
    return -torch.nn.functional.logsigmoid(BETA * ((chosen - reference_chosen) - (rejected - reference_rejected))).mean()


def train(run, out, rng, generator):
    out.mkdir(parents=True)
    draw = vlms.llava(rng, 0)
    draw["text_config"].update(vocab_size=64, initializer_range=0.2)
    config = transformers.LlavaConfig(**draw)
    model = transformers.LlavaForConditionalGeneration(config)
    model.save_pretrained(out)
    given = batches(config, rng, generator, run == "dpo")
    save_file({k: v.contiguous() for k, v in given.items()}, out / "batches.safetensors")
    reference = copy.deepcopy(model)
    if run == "lora":
        lora = peft.LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|up_proj|down_proj|gate_proj)")
        model = peft.get_peft_model(model, lora)
        model.save_pretrained(out / "adapter")
    parameters = trained(model, run)
    optimizer = torch.optim.AdamW(parameters, lr=RATES[run], betas=(SETTINGS["beta1"], SETTINGS["beta2"]), eps=SETTINGS["eps"],
                                  weight_decay=SETTINGS["weight_decay"])
    model.train()
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(RATES[run], step)
        optimizer.zero_grad()
        if run == "dpo":
            loss = dpo_loss(model, reference, given, step)
        else:
            loss = model(input_ids=given["ids"][step], attention_mask=given["mask"][step].long(), pixel_values=given["pixels"][step],
                         labels=given["labels"][step]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, SETTINGS["grad_clip_norm"])
        optimizer.step()
        losses.append(loss.item())
    (out / "training.json").write_text(json.dumps({**SETTINGS, "lr": RATES[run], "beta": BETA, "losses": losses}))


def main():
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}")
    for run in RATES:
        rng, generator = families.rng_of(seed, "vlm_training", run)
        torch.manual_seed(rng.randrange(2**31))
        train(run, pathlib.Path(sys.argv[1]) / run, rng, generator)


if __name__ == "__main__":
    main()
