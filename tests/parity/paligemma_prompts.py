#!/usr/bin/env python3
"""A small PaliGemma with a tokenizer of Gemma's kind, and what transformers' processor makes of prompts and answers.

    paligemma_prompts.py write OUT      OUT/model, OUT/picture.png, OUT/prompts.json
    paligemma_prompts.py check OUT DIR  the processor of DIR gives the ids of OUT/prompts.json; exit status 1 where it does not
"""
import json
import os
import pathlib
import sys

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, trainers

import families
import vlms

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
# Line breaks merge with what stands around them, so that an answer must be cut apart from its question.
TEXTS = ["answer en What is it?\na dog", "detect dog ; cat\n<loc0001>", "caption en\ntwo cats", "What is on the sofa?\nno\na cat", "0123456789 .,;:!?-_()'"]
PROMPTS = [("answer en What is it?", "a dog"), ("caption en", "two cats on the sofa"), ("detect dog ; cat", "<loc0010><loc0020><loc0500><loc1023> dog"),
           ("", "no"), ("What is on the sofa?", "no\na cat")]


def gemma_tokenizer():
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "\u2581")
    trained.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, min_frequency=2))
    model = json.loads(trained.to_str())["model"]
    assert any("\n" in a + b for a, b in model["merges"])
    return transformers.GemmaTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])


def rows(processor, picture):
    for prompt, suffix in PROMPTS:
        for answer in (None, suffix):
            made = processor(images=picture, text="<image>" + prompt, **({"suffix": answer} if answer else {}))
            yield {"prompt": prompt, "suffix": answer, **{name: made[name][0] for name in ("input_ids", "token_type_ids")},
                   "labels": made["labels"][0].tolist()}


def write(out):
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}")
    rng, generator = families.rng_of(seed, "paligemma_prompts")
    draw = vlms.paligemma(rng, 0)
    tower = draw["vision_config"]
    side = tower["image_size"]
    image_processor = transformers.SiglipImageProcessor(size={"height": side, "width": side}, image_seq_length=(side // tower["patch_size"]) ** 2)
    processor = transformers.PaliGemmaProcessor(image_processor, gemma_tokenizer())
    draw["text_config"]["vocab_size"] = len(processor.tokenizer)
    draw["image_token_index"] = processor.image_token_id
    vlms.save_model("paligemma", 0, transformers.PaliGemmaConfig(**draw), generator, out / "model")
    image_processor.save_pretrained(out / "model")
    processor.tokenizer.save_pretrained(out / "model")
    processor.save_pretrained(out / "processor")
    pixels = torch.randint(0, 256, (side, side, 3), generator=generator, dtype=torch.uint8)
    picture = Image.fromarray(pixels.numpy())
    picture.save(out / "picture.png")
    inputs = processor(images=picture, text="<image>" + PROMPTS[0][0], return_tensors="pt")
    inputs = {name: inputs[name].double() if name == "pixel_values" else inputs[name] for name in ("input_ids", "token_type_ids", "attention_mask", "pixel_values")}
    model, _ = vlms.load("paligemma", out / "model")
    with torch.no_grad():
        made = model.generate(**inputs, max_new_tokens=8, do_sample=False, eos_token_id=[], pad_token_id=0)[0, inputs["input_ids"].shape[1]:]
    (out / "prompts.json").write_text(json.dumps({"rows": list(rows(processor, picture)), "generated": made.tolist()}))


def check(out, folder):
    processor = transformers.PaliGemmaProcessor.from_pretrained(folder)
    found, expected = list(rows(processor, Image.open(out / "picture.png"))), json.loads((out / "prompts.json").read_text())["rows"]
    problems = [f"{a} is not {b}" for a, b in zip(found, expected, strict=True) if a != b]
    if processor.chat_template is not None:
        problems.append("a chat template was written that transformers' folder did not have")
    print("\n".join(problems) or "equal")
    sys.exit(bool(problems))


if __name__ == "__main__":
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    {"write": write, "check": check}[sys.argv[1]](*map(pathlib.Path, sys.argv[2:]))
