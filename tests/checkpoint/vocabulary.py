"""Loads a model and a tokenizer that weft gave further tokens, and gives transformers' own ones the same: vocabulary.py FOLDER.

FOLDER holds before/, after/, rows.json (texts and weft's ids) and logits.safetensors (weft's logits of them).
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file

torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
load = lambda name: transformers.AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32, attn_implementation="eager").eval()
read = lambda name: transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / name / "tokenizer.json"))
model, tokenizer = load("after"), read("after")
own_model, own_tokenizer = load("before"), read("before")
names = [f"<loc{i:04d}>" for i in range(1024)] + [f"<seg{i:03d}>" for i in range(128)]
own_tokenizer.add_tokens([transformers.AddedToken(name, normalized=False, special=False) for name in names])
own_model.resize_token_embeddings(model.config.vocab_size, mean_resizing=True)

problems = []
logits = load_file(folder / "logits.safetensors")
for i, row in enumerate(json.loads((folder / "rows.json").read_text())):
    for who, candidate in (("the saved tokenizer", tokenizer), ("transformers' own", own_tokenizer)):
        ids = candidate(row["text"])["input_ids"]
        if ids != row["ids"]:
            problems.append(f"{who}: {row['text']!r} is {ids}, expected {row['ids']}")
        if candidate.decode(ids) != own_tokenizer.decode(row["ids"]):
            problems.append(f"{who}: decodes {ids} to {candidate.decode(ids)!r}")
    # Its new rows stray from the mean by the root of 1e-9 of the old rows' variance.
    for who, candidate, tolerance in (("the saved model", model, 2e-5), ("transformers' own", own_model, 1e-2)):
        with torch.no_grad():
            expected = candidate(torch.tensor([row["ids"]])).logits
        difference = (expected - logits[str(i)]).abs().max() / expected.abs().max()
        if not difference <= tolerance:
            problems.append(f"{who}: logits of {row['text']!r} differ by {difference}")
if tokenizer.decode(tokenizer.convert_tokens_to_ids(names[:3])).replace(" ", "") != "".join(names[:3]):
    problems.append("location tokens are left out of decoded texts")
print("\n".join(problems) or "equal")
sys.exit(bool(problems))
