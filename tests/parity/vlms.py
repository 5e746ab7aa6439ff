"""Random configurations of the vision-language models that weft registers, and transformers' own results for them in fp64."""
import torch
import transformers
from safetensors.torch import save_file

import language_models
from families import ACTIVATIONS, randomize, shared

IMAGE_TOKEN = 3


def vision(rng, k, kind):
    patch = rng.choice([3, 4])
    out = dict(shared(rng, k), intermediate_size=rng.choice([17, 30]), patch_size=patch, image_size=patch * rng.choice([2, 3]))
    out["model_type"] = kind
    if kind == "dinov2":
        del out["intermediate_size"]
    return out


def llava(rng, k):
    kind = ["clip_vision_model", "siglip_vision_model", "dinov2", "clip_vision_model"][k]
    text = ["llama", "qwen2", "mistral", "gemma"][k]
    draw = getattr(language_models, text)(rng, 0)
    draw.update(model_type=text, vocab_size=rng.randrange(40, 90))
    layers = [-2, -1, -2, [-1, -2]][k]
    strategy = ["default", "full", "default", "full"][k]
    tower = vision(rng, k, kind)
    return dict(vision_config=tower, text_config=draw, image_token_index=IMAGE_TOKEN, vision_feature_layer=layers, vision_feature_select_strategy=strategy,
                multimodal_projector_bias=k != 1, projector_hidden_act=ACTIVATIONS[k], tie_word_embeddings=draw["tie_word_embeddings"])


FAMILIES = {"llava": (transformers.LlavaConfig, llava, transformers.LlavaForConditionalGeneration)}


def visual_tokens(config):
    tower = config.vision_config
    count = (tower.image_size // tower.patch_size) ** 2
    return count + (config.vision_feature_select_strategy == "full" and tower.model_type != "siglip_vision_model")


def save_model(family, k, config, generator, folder):
    model = FAMILIES[family][2](config)
    randomize(model, generator)
    if config.text_config.model_type == "gemma":
        language_models.centre_norms(model.model.language_model)
    if k == 1:
        model = model.bfloat16()
    model.save_pretrained(folder, **({"max_shard_size": "20KB"} if k == 2 else {}))


def load(family, folder, _=None):
    return language_models.load_fp64(FAMILIES[family][2], folder)


def inputs(config, rng, generator):
    """Three rows with two, one and no image among their tokens, at any place; padded on the right."""
    side, count, vocab = config.vision_config.image_size, visual_tokens(config), config.text_config.vocab_size
    rows = []
    for images in (2, 1, 0):
        row = []
        for _ in range(images):
            row += torch.randint(4, vocab, (rng.randrange(0, 4),), generator=generator).tolist() + [IMAGE_TOKEN] * count
        rows.append(row + torch.randint(4, vocab, (rng.randrange(2, 6),), generator=generator).tolist())
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.arange(length)[None] < torch.tensor([[len(row)] for row in rows])
    labels = torch.where(mask & (ids != IMAGE_TOKEN), ids, -100)
    return {"ids": ids, "mask": mask, "labels": labels, "pixels": torch.randn(3, 3, side, side, generator=generator)}


def run(family, model, given):
    out = model(input_ids=given["ids"], attention_mask=given["mask"].long(), pixel_values=given["pixels"].double(), labels=given["labels"])
    return {"logits": out.logits * given["mask"][:, :, None], "loss": out.loss}


def write_cases(family, folder, rng, generator, write_gradients):
    model, info = load(family, folder)
    assert not info["missing_keys"], info
    given = inputs(model.config, rng, generator)
    expected = run(family, model, given)
    weight = torch.randn(expected["logits"].shape, generator=generator)
    (expected["loss"] + 0.1 * (expected["logits"] * weight.double()).sum()).backward()
    tensors = {**given, "weight.logits": weight, **{k: v.detach() for k, v in expected.items()}}
    row = given["mask"][0]
    prompt = given["ids"][:1][:, row]
    with torch.no_grad():
        greedy = load(family, folder)[0].generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), pixel_values=given["pixels"][:2].double(),
                                                  max_new_tokens=10, do_sample=False, eos_token_id=[], pad_token_id=0)
    tensors["greedy"] = greedy[:, prompt.shape[1]:]
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "case-0.safetensors")
    write_gradients(family, model, folder / "gradients-0")
