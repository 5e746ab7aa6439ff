#!/usr/bin/env python3
"""A small random Llama and what transformers' generate() makes of it.

    generation_reference.py OUT SEED

OUT/model is the folder; OUT/cases.json a list of {"options", "prompt", "ids"}; OUT/logits.safetensors the logits
that its processors give for OUT/options.json.
"""
import json
import pathlib
import random
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers.generation import LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

out, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
transformers.utils.logging.set_verbosity_error()
rng = random.Random(seed)
torch.manual_seed(seed)
torch.set_num_threads(1)
config = transformers.LlamaConfig(vocab_size=29, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                  max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.5)
model = transformers.LlamaForCausalLM(config).eval()
model.save_pretrained(out / "model")
model.generation_config.eos_token_id = None

cases = []
for k in range(24):
    beams = rng.choice([1, 1, 2, 3, 5])
    options = {"max_new_tokens": rng.randrange(1, 20), "num_beams": beams, "end_tokens": rng.sample(range(3, 29), rng.choice([0, 1, 1, 3]))}
    if beams > 1:
        options["length_penalty"] = rng.choice([0.0, 0.5, 1.0, 2.0])
    if k % 3 == 0:
        options["repetition_penalty"] = rng.choice([1.3, 2.0])
    prompt = [rng.randrange(3, 29) for _ in range(rng.randrange(1, 12))]
    extra = {"length_penalty": options["length_penalty"]} if beams > 1 else {}
    with torch.no_grad():
        ids = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=options["max_new_tokens"],
                             num_beams=beams, do_sample=False, repetition_penalty=options.get("repetition_penalty", 1.0), eos_token_id=options["end_tokens"] or None,
                             pad_token_id=999, **extra)[0, len(prompt):].tolist()
    while options["end_tokens"] and ids and ids[-1] == 999:  # padding behind a beam that ended early
        ids.pop()
    cases.append({"options": options, "prompt": prompt, "ids": ids})
(out / "cases.json").write_text(json.dumps(cases))

settings, tensors = [], {}
for k in range(40):
    chosen = {}
    if rng.random() < 0.4:
        chosen["repetition_penalty"] = rng.choice([0.7, 1.5])
    chosen["temperature"] = rng.choice([0.3, 1.0, 1.7])
    if rng.random() < 0.5:
        chosen["top_k"] = rng.choice([1, 4, 100])
    if rng.random() < 0.5:
        chosen["top_p"] = rng.choice([0.05, 0.6, 0.95])
    if rng.random() < 0.4:
        chosen["min_p"] = rng.choice([0.01, 0.3])
    ids = torch.randint(0, 29, (3, 7))
    logits = torch.randn(3, 29) * 3
    makers = {"repetition_penalty": RepetitionPenaltyLogitsProcessor, "temperature": TemperatureLogitsWarper, "top_k": TopKLogitsWarper,
              "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}
    processors = LogitsProcessorList([make(chosen[name]) for name, make in makers.items() if name in chosen])
    tensors.update({f"{k}.ids": ids, f"{k}.logits": logits, f"{k}.expected": processors(ids, logits.clone())})
    settings.append(chosen)
(out / "options.json").write_text(json.dumps(settings))
save_file(tensors, out / "logits.safetensors")
