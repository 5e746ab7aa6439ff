#!/usr/bin/env python3
"""Loads what weft saved into transformers and compares its results with those of the original folders.

    reload.py REFERENCES SAVED

SAVED/<family>/<k> is weft's copy of REFERENCES/<family>/<k>. Prints a line for each difference; exit status 1.
"""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file

import families
import language_models
import vlms

KEPT = {"architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path"}


def check(family, reference, saved):
    module = next(m for m in (language_models, vlms, families) if family in m.FAMILIES)
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (reference, saved))
    gemma = "gemma" in before.get("text_config", before)["model_type"] if module is not families else False
    tolerance = 1e-5 if gemma else 1e-12  # 1 + weight and back is rounded
    model, info = module.load(family, saved, families.has_pooler(saved))
    problems = [f"{kind}: {sorted(info[kind])}" for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[kind]]
    problems += [f"config.json: {key} was {before[key]}, is {after.get(key)}" for key in before if key not in KEPT and before[key] != after.get(key)]
    for case in sorted(reference.glob("case-*.safetensors")):
        tensors = load_file(case)
        if module is language_models:  # dynamic frequencies remember earlier texts
            model, _ = module.load(family, saved)
        with torch.no_grad():
            results = module.run(family, model, tensors)
        for name, value in results.items():
            if (value - tensors[name]).abs().max() > tolerance * tensors[name].abs().max():
                problems.append(f"{case.name}: {name} differs by {(value - tensors[name]).abs().max()}")
    return problems


def main():
    references, saved = map(pathlib.Path, sys.argv[1:])
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    problems, count = [], 0
    for folder in sorted(saved.glob("*/*")):
        count += 1
        family = folder.parent.name
        problems += [f"{family}/{folder.name}: {p}" for p in check(family, references / family / folder.name, folder)]
    print("\n".join(problems) or f"{count} folders reload with equal results")
    sys.exit(bool(problems) or count == 0)


if __name__ == "__main__":
    main()
