#!/usr/bin/env python3
"""LoRA adapters of PEFT, and PEFT's own results with them in fp64.

    peft_adapters.py make OUT            draws them (seed: WEFT_PARITY_SEED, else fresh)
    peft_adapters.py check OUT SAVED     loads in PEFT what weft saved

OUT/<case>/ holds model/ (the base), adapter/, case-0.safetensors (inputs, logits, loss), gradients/ (those of the
adapter's factors, laid out as an adapter) and merged/ (the base with the adapter merged into it).
SAVED/<case>/<variant>/ holds an adapter, or merged weights where it has no adapter_config.json, and
logits.safetensors, weft's own on the case's inputs. Prints a line for each difference; exit status 1.
"""
import copy
import os
import pathlib
import sys
import warnings

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

import families
import language_models
import vlms

# case: family, which of its configurations, the adapter
CASES = {
    "llama": ("llama", 1, dict(r=4, lora_alpha=8, target_modules="all-linear")),
    "llama-head": ("llama", 0, dict(r=2, lora_alpha=3, target_modules=["lm_head", "up_proj"])),
    "mistral": ("mistral", 1, dict(r=3, lora_alpha=5, target_modules=r".*layers\.[01]\.(self_attn\.(q|o)_proj|mlp\.down_proj)",
                                   rank_pattern={"down_proj": 5}, alpha_pattern={r"layers\.0\.self_attn\.q_proj": 7})),
    "qwen2": ("qwen2", 0, dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "gate_proj"], use_rslora=True)),
    "gpt2": ("gpt2", 0, dict(r=4, lora_alpha=6, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)),
    "phi3": ("phi3", 0, dict(r=2, lora_alpha=4, target_modules="all-linear")),
    "llava": ("llava", 0, dict(r=3, lora_alpha=6, target_modules="all-linear")),
    "idefics3": ("idefics3", 0, dict(r=3, lora_alpha=6, target_modules="all-linear")),
    "internvl": ("internvl", 0, dict(r=3, lora_alpha=6, target_modules="all-linear")),
    "llava-language": ("llava", 1, dict(r=2, lora_alpha=4, target_modules=r".*language_model.*_proj")),
}


def module_of(family):
    return vlms if family in vlms.FAMILIES else language_models


def model_class(family):
    return module_of(family).FAMILIES[family][2]


def base(family, folder):
    return model_class(family).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def factors(model):
    return [(name, p) for name, p in model.named_parameters() if ".lora_" in name]


def make(out, seed):
    for name, (family, k, settings) in CASES.items():
        module = module_of(family)
        rng, generator = families.rng_of(seed, "lora", name)
        config = module.FAMILIES[family][0](**dict(module.FAMILIES[family][1](rng, k), tie_word_embeddings=False) if name == "llama-head"
                                            else module.FAMILIES[family][1](rng, k))
        folder = out / name
        model = model_class(family)(config)
        families.randomize(model, generator)
        model.save_pretrained(folder / "model")

        adapted = peft.get_peft_model(base(family, folder / "model"), peft.LoraConfig(**settings, lora_dropout=0.0))
        with torch.no_grad():
            for _, p in factors(adapted):
                p.copy_(torch.randn(p.shape, generator=generator) * 0.2)
        adapted.save_pretrained(folder / "adapter")
        adapted = adapted.double().eval()
        unadapted = base(family, folder / "model").double().eval()
        given = vlms.inputs(family, k, unadapted, rng, generator) if module is vlms else language_models.inputs(config, rng, generator)["1"]
        with torch.no_grad():
            plain = module.run(family, unadapted, given)["logits"]
        expected = module.run(family, adapted.base_model.model, given)
        assert (expected["logits"] - plain).abs().max() > 1e-2 * plain.abs().max(), "the adapter does next to nothing"
        weight = torch.randn(expected["logits"].shape, generator=generator)
        (expected["loss"] + 0.1 * (expected["logits"] * weight.double()).sum()).backward()
        tensors = {**given, "weight.logits": weight, "logits": expected["logits"].detach(), "loss": expected["loss"].detach()}
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "case-0.safetensors")
        copy.deepcopy(adapted).merge_and_unload().float().save_pretrained(folder / "merged")
        with torch.no_grad():
            for _, p in factors(adapted):
                p.copy_(torch.zeros_like(p) if p.grad is None else p.grad)  # towers are left early
        adapted.float().save_pretrained(folder / "gradients")


def check(out, saved):
    problems, count = [], 0
    for folder in sorted(saved.glob("*/*")):
        count += 1
        name = folder.parent.name
        family = CASES[name][0]
        given = load_file(out / name / "case-0.safetensors")
        expected = load_file(folder / "logits.safetensors")["logits"].double()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if (folder / "adapter_config.json").exists():
                model = peft.PeftModel.from_pretrained(base(family, out / name / "model"), folder).base_model.model
            else:
                model = base(family, folder)
        problems += [f"{name}/{folder.name}: {w.message}" for w in said if "adapter" in str(w.message) or "fan_in" in str(w.message)]
        with torch.no_grad():
            logits = module_of(family).run(family, model.double().eval(), given)["logits"]
        difference = (logits - expected).abs().max() / expected.abs().max()
        if difference > 1e-5:
            problems.append(f"{name}/{folder.name}: logits differ by {difference}")
    print("\n".join(problems) or f"{count} folders load with equal results")
    sys.exit(bool(problems) or count == 0)


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if sys.argv[1] == "check":
        check(*map(pathlib.Path, sys.argv[2:]))
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}", flush=True)
    make(pathlib.Path(sys.argv[2]), seed)


if __name__ == "__main__":
    main()
