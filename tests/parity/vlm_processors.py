#!/usr/bin/env python3
"""What transformers' processors make of conversations about images, and what models answer.

    vlm_processors.py OUT

OUT/<family>/: a model's whole folder (seed: WEFT_PARITY_SEED, else fresh) with tokenizer.json, chat_template.jinja and preprocessor_config.json,
<i>_WxH.rgb images, and cases.json: [{images, messages, ids, answer}], with <case>.chw, the tiles of its images as bytes. saved/ holds what
transformers writes for the processor.
"""
import json
import os
import pathlib
import sys

import numpy
import tokenizers
import torch
import transformers

import families
import vlms
from vlms import IMAGE_TOKEN

IDEFICS_TEMPLATE = (
    "<s>{% for message in messages %}{{message['role'].capitalize()}}{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
INTERNVL_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n'}}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}{% elif content['type'] == 'text' %}{{ content['text'] }}"
    "{% endif %}{% endfor %}{% endif %}{{'<|im_end|>\\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\\n' }}{% endif %}")
ONEVISION_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}"
    "{{'<|im_end|>'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}")
# Not all that is written around images is a token of its own: Idefics3's <global-img> is text.
SPECIAL = {"idefics3": ["<image>", "<fake_token_around_image>", "<end_of_utterance>", *(f"<row_{i}_col_{j}>" for i in (1, 2) for j in (1, 2, 3))],
           "internvl": ["<IMG_CONTEXT>", "<img>", "</img>", "<|im_start|>", "<|im_end|>", "<video>"],
           "llava_onevision": ["<image>", "<|im_start|>", "<|im_end|>", "<video>"]}
SIZES = [(40, 40), (61, 40), (23, 50), (7, 90), (101, 9)]
CONVERSATIONS = [([0], ["What is it?"]), ([1, 2], ["Which differ?", "Both.", "And why\nis that?"]), ([3, 4, 0], ["Look!"]), ([], ["No image?"])]


def tokenizer_of(family):
    """Byte-level BPE that joins two line breaks, with the placeholder where the model's configuration has it."""
    special = ["<pad>", "<s>", "</s>", *SPECIAL[family]]
    assert special[IMAGE_TOKEN] == SPECIAL[family][0]
    vocab = {token: i for i, token in enumerate([*special, *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()), "ĊĊ", "ro", "row"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, [("Ċ", "Ċ"), ("r", "o"), ("ro", "w")]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens([tokenizers.AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer


def processor_of(family, folder, config, tokenizer):
    side = families.side_of(config["vision_config"]["image_size"])
    grid = side // families.side_of(config["vision_config"]["patch_size"])
    if family == "idefics3":
        preprocessor = dict(image_processor_type="Idefics3ImageProcessor", size=dict(longest_edge=4 * side), max_image_size=dict(longest_edge=side))
    elif family == "llava_onevision":
        preprocessor = dict(image_processor_type="LlavaOnevisionImageProcessor", size=dict(height=side, width=side),
                            image_grid_pinpoints=config["image_grid_pinpoints"])
    else:
        preprocessor = dict(image_processor_type="GotOcr2ImageProcessor", size=dict(height=side, width=side), min_patches=1, max_patches=6)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    if family == "idefics3":
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
        return transformers.Idefics3Processor(images, fast, image_seq_len=(grid // config["scale_factor"]) ** 2, chat_template=IDEFICS_TEMPLATE)
    if family == "llava_onevision":
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")
        return transformers.LlavaOnevisionProcessor(images, fast, transformers.LlavaOnevisionVideoProcessor(), num_image_tokens=grid**2,
                                                    vision_feature_select_strategy="full", chat_template=ONEVISION_TEMPLATE,
                                                    vision_aspect_ratio=config["vision_aspect_ratio"])
    named = dict(start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", extra_special_tokens=named)
    length = round(grid * config["downsample_ratio"]) ** 2
    return transformers.InternVLProcessor(images, fast, transformers.InternVLVideoProcessor(), image_seq_length=length, chat_template=INTERNVL_TEMPLATE)


def write(family, folder, seed):
    rng, generator = families.rng_of(seed, family, "processor")
    tokenizer = tokenizer_of(family)
    config_class, draw, _ = vlms.FAMILIES[family]
    config = draw(rng, 0)
    config["text_config"].update(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=4096)
    vlms.save_model(family, 0, config_class(**config), generator, folder)
    model, _ = vlms.load(family, folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    processor = processor_of(family, folder, config, tokenizer)
    (folder / "chat_template.jinja").write_text(processor.chat_template)
    processor.save_pretrained(folder / "saved")
    images = [numpy.frombuffer(rng.randbytes(3 * w * h), numpy.uint8).reshape(h, w, 3) for w, h in SIZES]
    for i, image in enumerate(images):
        (folder / f"{i}_{image.shape[1]}x{image.shape[0]}.rgb").write_bytes(image.tobytes())
    cases = []
    for c, (numbers, turns) in enumerate(CONVERSATIONS):
        messages = [{"role": ["user", "assistant"][i % 2], "content": [{"type": "text", "text": text}]} for i, text in enumerate(turns)]
        messages[0]["content"] = [{"type": "image"} for _ in numbers] + messages[0]["content"]
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
        seen = dict(images=[[images[i] for i in numbers]], input_data_format="channels_last") if numbers else {}
        out = processor(text=[prompt], **seen, **(dict(do_rescale=False, do_normalize=False) if numbers else {}))
        if numbers:
            tiles = out["pixel_values"]
            if family != "internvl":
                tiles = [tile for image in tiles for tile in image]
            (folder / f"{c}.chw").write_bytes(numpy.stack([numpy.asarray(tile) for tile in tiles]).astype(numpy.uint8).tobytes())
        given = processor(text=[prompt], **seen, return_tensors="pt")
        given = {k: v.double() if k == "pixel_values" else v for k, v in given.items() if k != "token_type_ids"}
        with torch.no_grad():
            answer = model.generate(**given, max_new_tokens=8, do_sample=False, eos_token_id=[], pad_token_id=0)[0, given["input_ids"].shape[1]:]
        cases.append({"images": numbers, "messages": turns, "ids": [int(i) for i in out["input_ids"][0]], "answer": answer.tolist()})
    (folder / "cases.json").write_text(json.dumps(cases))


def main():
    out = pathlib.Path(sys.argv[1])
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}", flush=True)
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for family in SPECIAL:
        write(family, out / family, seed)


if __name__ == "__main__":
    main()
