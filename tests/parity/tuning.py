#!/usr/bin/env python3
"""Tunes a small Llama for 20 steps: with PEFT's LoRA on texts, and with DPO on pairs of answers.

    tuning.py OUT

OUT/lora/: model/ and adapter/ before the first step, batches.safetensors (ids [20, B, T]).
OUT/dpo/: model/, batches.safetensors (chosen.ids, chosen.labels, rejected.ids, rejected.labels [20, B, T]; labels -100
on the prompt and behind the answer, masks where ids are real).
Each with training.json: settings and the 20 losses, of DPO also margins and accuracies.
"""
import json
import os
import pathlib
import sys

import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

import families

STEPS, BATCH, LENGTH, VOCAB = 20, 8, 16, 61


def small_llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager"))


def adamw(parameters, settings):
    return torch.optim.AdamW(parameters, lr=settings["lr"], betas=(settings["beta1"], settings["beta2"]), eps=settings["eps"],
                             weight_decay=settings["weight_decay"])


def lora(out, generator):
    settings = dict(lr=1e-2, weight_decay=0.1, beta1=0.9, beta2=0.95, eps=1e-8)
    base = small_llama()
    base.save_pretrained(out / "model")
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.save_pretrained(out / "adapter")
    # Each token tells the next but for noise.
    first = torch.randint(3, VOCAB, (STEPS, BATCH, 1), generator=generator)
    ids = 3 + (first - 3 + 7 * torch.arange(LENGTH)) % (VOCAB - 3)
    noise = torch.rand(ids.shape, generator=generator) < 0.1
    ids = torch.where(noise, torch.randint(3, VOCAB, ids.shape, generator=generator), ids)
    save_file({"ids": ids}, out / "batches.safetensors")
    optimizer = adamw([p for p in model.parameters() if p.requires_grad], settings)
    model.train()
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=ids[step], labels=ids[step]).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    (out / "training.json").write_text(json.dumps({**settings, "losses": losses}))


def log_probs(model, ids, labels):
    """Summed over the labelled tokens, each told from the one before it."""
    logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits[:, :-1]
    labels = labels[:, 1:]
    each = F.log_softmax(logits, -1).gather(2, labels.clamp(min=0)[:, :, None])[:, :, 0]
    return (each * (labels != -100)).sum(1)


def answers(prompt, step, generator):
    """prompt [S, B, P], then an answer that counts on by `step` from the prompt's last token, of random length; padding 0."""
    count = LENGTH - prompt.shape[2]
    answer = 3 + (prompt[:, :, -1:] - 3 + step * torch.arange(1, count + 1)) % (VOCAB - 3)
    length = torch.randint(2, count + 1, prompt.shape[:2], generator=generator)[:, :, None]
    real = torch.arange(count) < length
    ids = torch.cat([prompt, torch.where(real, answer, 0)], 2)
    labels = torch.cat([torch.full_like(prompt, -100), torch.where(real, answer, -100)], 2)
    return ids, labels


def dpo(out, generator):
    settings = dict(lr=2e-3, weight_decay=0.0, beta1=0.9, beta2=0.95, eps=1e-8, beta=0.3)
    policy = small_llama()
    policy.save_pretrained(out / "model")
    reference = transformers.LlamaForCausalLM.from_pretrained(out / "model", attn_implementation="eager").eval()
    prompt = torch.randint(3, VOCAB, (STEPS, BATCH, 5), generator=generator)
    batches = {}
    for name, step in (("chosen", 7), ("rejected", 11)):
        batches[name + ".ids"], batches[name + ".labels"] = answers(prompt, step, generator)
    save_file(batches, out / "batches.safetensors")
    optimizer = adamw(policy.parameters(), settings)
    policy.train()
    record = {"losses": [], "margins": [], "accuracies": []}
    for step in range(STEPS):
        ratios = []
        for name in ("chosen", "rejected"):
            ids, labels = batches[name + ".ids"][step], batches[name + ".labels"][step]
            with torch.no_grad():
                before = log_probs(reference, ids, labels)
            ratios.append(log_probs(policy, ids, labels) - before)
        loss = -F.logsigmoid(settings["beta"] * (ratios[0] - ratios[1])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        margins = settings["beta"] * (ratios[0] - ratios[1]).detach()
        record["losses"].append(loss.item())
        record["margins"].append(margins.mean().item())
        record["accuracies"].append((margins > 0).float().mean().item())
    (out / "training.json").write_text(json.dumps({**settings, **record}))


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}")
    for name, tune in (("lora", lora), ("dpo", dpo)):
        rng, generator = families.rng_of(seed, "tuning", name)
        torch.manual_seed(rng.randrange(2**31))
        folder = pathlib.Path(sys.argv[1]) / name
        folder.mkdir(parents=True)
        tune(folder, generator)


if __name__ == "__main__":
    main()
