"""Random configurations of the vision-language models that weft registers, and transformers' own results for them in fp64."""
import torch
import transformers
from safetensors.torch import save_file
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape

import families
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


def language(rng, k):
    text = ["llama", "qwen2", "mistral", "gemma"][k]
    draw = getattr(language_models, text)(rng, 0)
    draw.update(model_type=text, vocab_size=rng.randrange(40, 90))
    return draw


def llava(rng, k):
    kind = ["clip_vision_model", "siglip_vision_model", "dinov2", "clip_vision_model"][k]
    draw = language(rng, k)
    layers = [-2, -1, -2, [-1, -2]][k]
    strategy = ["default", "full", "default", "full"][k]
    tower = vision(rng, k, kind)
    return dict(vision_config=tower, text_config=draw, image_token_index=IMAGE_TOKEN, vision_feature_layer=layers, vision_feature_select_strategy=strategy,
                multimodal_projector_bias=k != 1, projector_hidden_act=ACTIVATIONS[k], tie_word_embeddings=draw["tie_word_embeddings"])


def llava_next(rng, k):
    out = llava(rng, k)
    side = out["vision_config"]["image_size"]
    grids = {(1, 1), (1, 2), (2, 1), *((rng.randrange(1, 5), rng.randrange(1, 5)) for _ in range(4))}
    out["image_grid_pinpoints"] = [[side * rows, side * columns] for rows, columns in sorted(grids)]
    if k == 3:
        out["vision_feature_select_strategy"] = "default"  # tiles have no room for a class token
    return out


def llava_onevision(rng, k):
    return dict(llava_next(rng, k), vision_aspect_ratio=f"anyres_max_{rng.randrange(1, 5)}")


def idefics3(rng, k):
    draw, shuffle = language(rng, k), [2, 5, 1, 3][k]
    tower = dict(families.idefics3_vision(rng, k), model_type="idefics3_vision")
    side = shuffle * (5 if k == 1 else rng.choice([1, 2])) + (shuffle == 1)  # fp32's rounding moves some of 25 patches a row
    tower["image_size"] = side * tower["patch_size"]
    tied = draw["tie_word_embeddings"] and k != 0
    draw["tie_word_embeddings"] = tied != (k == 2)  # the model's own decides
    return dict(vision_config=tower, text_config=draw, image_token_id=IMAGE_TOKEN, scale_factor=shuffle, tie_word_embeddings=tied)


def smolvlm(rng, k):
    out = idefics3(rng, k)
    out["vision_config"]["model_type"] = "smolvlm_vision"
    return out


def internvl(rng, k):
    draw, shuffle = language(rng, k), [2, 1, 4, 2][k]
    tower = dict(families.internvl_vision(rng, k), model_type="internvl_vision")
    tower["image_size"] = [tower["patch_size"][0] * shuffle * rng.choice([1, 2])] * 2
    return dict(vision_config=tower, text_config=draw, image_token_id=IMAGE_TOKEN, downsample_ratio=1 / shuffle, projector_hidden_act=ACTIVATIONS[k],
                vision_feature_layer=[-1, -1, -2, 1][k], tie_word_embeddings=draw["tie_word_embeddings"] and k != 0)


def paligemma(rng, k):
    text = ["gemma", "gemma2", "gemma2", "gemma"][k]
    draw = getattr(language_models, text)(rng, k)
    draw.update(model_type=text, vocab_size=rng.randrange(40, 90))
    if k == 2:
        draw.update(sliding_window=3)  # narrower than the prefix, which sees itself whole all the same
    tower = vision(rng, k, "clip_vision_model" if k == 3 else "siglip_vision_model")
    if k != 3:
        tower["vision_use_head"] = k == 2
    if k == 1:
        tower["image_size"] += 1  # pixels beyond the last whole patch
    width = draw["hidden_size"]
    return dict(vision_config=tower, text_config=draw, image_token_index=IMAGE_TOKEN, projection_dim=width, hidden_size=width, vocab_size=draw["vocab_size"],
                tie_word_embeddings=k != 2)


IDEFICS = {"idefics3", "smolvlm"}
FAMILIES = {"idefics3": (transformers.Idefics3Config, idefics3, transformers.Idefics3ForConditionalGeneration),
            "smolvlm": (transformers.SmolVLMConfig, smolvlm, transformers.SmolVLMForConditionalGeneration),
            "internvl": (transformers.InternVLConfig, internvl, transformers.InternVLForConditionalGeneration),
            "llava": (transformers.LlavaConfig, llava, transformers.LlavaForConditionalGeneration),
            "llava_next": (transformers.LlavaNextConfig, llava_next, transformers.LlavaNextForConditionalGeneration),
            "llava_onevision": (transformers.LlavaOnevisionConfig, llava_onevision, transformers.LlavaOnevisionForConditionalGeneration),
            "paligemma": (transformers.PaliGemmaConfig, paligemma, transformers.PaliGemmaForConditionalGeneration)}


def save_model(family, k, config, generator, folder):
    model = FAMILIES[family][2](config)
    randomize(model, generator)
    if config.text_config.model_type.startswith("gemma"):
        language_models.centre_norms(model.model.text_model if family in IDEFICS else model.model.language_model)
    if k == 1:
        model = model.bfloat16()
    model.save_pretrained(folder, **({"max_shard_size": "20KB"} if k == 2 else {}))


def load(family, folder, _=None):
    return language_models.load_fp64(FAMILIES[family][2], folder)


def cut(config, rng, generator, count, whole):
    """Tiles [T, 3, S, S] and rows of `images` for a wide, a tall and a square image; the first `whole` of them are not cut."""
    side = config.vision_config.image_size
    rows, first = [], 0
    for i in range(count):
        short, more = rng.randrange(8, 30), rng.randrange(100, 300) / 100  # longer ones can be shrunk to nothing, which fails
        size = [(short, int(short * more)), (int(short * more), short), (short, short + 1)][i]
        grid = (0, 0) if i < whole else get_anyres_image_grid_shape(size, config.image_grid_pinpoints, side)
        rows.append([first, *grid, *size, 1])
        first += 1 + grid[0] * grid[1]
    return torch.randn(first, 3, side, side, generator=generator), torch.tensor(rows)


def visual(family, given, images=None):
    """What transformers' models read of the first `images` images."""
    if family in IDEFICS:
        pixels = given["pixels"][:images, None].double()
        if "patches" not in given:
            return {"pixel_values": pixels}
        count, patches = len(pixels), given["patches"]
        side = round(patches.shape[1] ** 0.5)
        patch = pixels.shape[-1] // side
        mask = patches[:images].view(count, 1, side, side).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
        return {"pixel_values": pixels, "pixel_attention_mask": mask.long()}
    if "images" not in given:
        return {"pixel_values": given["pixels"][:images].double()}
    rows = given["images"][:images]
    tiles = [given["pixels"][r[0]:r[0] + r[1] * r[2] + 1].double() for r in rows.tolist()]
    out = {"pixel_values": torch.nn.utils.rnn.pad_sequence(tiles, batch_first=True), "image_sizes": rows[:, 3:5]}
    if (rows[:, 1] == 0).any():  # two images in the first row, one in the second
        out["batch_num_images"] = torch.tensor([2, 1][:len(rows) - 1])
    return out


def inputs(family, k, model, rng, generator):
    """Three rows with two, one and no image among their tokens, at any place; padded on the right. types: 0 where PaliGemma's prefix is."""
    config = model.config
    side, vocab = families.side_of(config.vision_config.image_size), config.text_config.vocab_size
    if not hasattr(config, "image_grid_pinpoints"):
        given = {"pixels": torch.randn(3, 3, side, side, generator=generator)}
        if family in IDEFICS and k == 3:  # images that do not fill their tiles
            grid = side // config.vision_config.patch_size
            given["patches"] = torch.ones(3, grid, grid, dtype=torch.bool)
            given["patches"][1, rng.randrange(1, grid):] = False
            given["patches"][2, :, rng.randrange(1, grid):] = False
            given["patches"] = given["patches"].flatten(1)
    else:
        given = dict(zip(("pixels", "images"), cut(config, rng, generator, 3, 2 * (family == "llava_onevision" and k == 3))))
    with torch.no_grad():
        counts = [len(image) for image in model.get_image_features(**visual(family, given)).pooler_output]
    rows = []
    for images in ([0, 1], [2], []):
        row = []
        for image in images:
            row += torch.randint(4, vocab, (rng.randrange(0, 4),), generator=generator).tolist() + [IMAGE_TOKEN] * counts[image]
        rows.append(row + torch.randint(4, vocab, (rng.randrange(2, 6),), generator=generator).tolist())
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.arange(length)[None] < torch.tensor([[len(row)] for row in rows])
    labels = torch.where(mask & (ids != IMAGE_TOKEN), ids, -100)
    if family == "paligemma":  # the end is the answer, the images and perhaps a token behind them are not
        images = [max((i + 1 for i, token in enumerate(row) if token == IMAGE_TOKEN), default=1) for row in rows]
        prefix = torch.tensor([[end + rng.randrange(2)] for end in images])
        given["types"] = (torch.arange(length)[None] >= prefix).long() * mask
        labels[given["types"] == 0] = -100
    return {"ids": ids, "mask": mask, "labels": labels, **given}


def run(family, model, given):
    extra = {"token_type_ids": given["types"]} if "types" in given else {}
    out = model(input_ids=given["ids"], attention_mask=given["mask"].long(), labels=given["labels"], **visual(family, given), **extra)
    return {"logits": out.logits * given["mask"][:, :, None], "loss": out.loss}


def write_cases(family, folder, rng, generator, write_gradients):
    model, info = load(family, folder)
    assert not info["missing_keys"], info
    given = inputs(family, int(folder.name), model, rng, generator)
    expected = run(family, model, given)
    weight = torch.randn(expected["logits"].shape, generator=generator)
    (expected["loss"] + 0.1 * (expected["logits"] * weight.double()).sum()).backward()
    tensors = {**given, "weight.logits": weight, **{k: v.detach() for k, v in expected.items()}}
    row = given["mask"][0]
    prompt = given["ids"][:1][:, row]
    extra = {"token_type_ids": torch.zeros_like(prompt)} if "types" in given else {}
    with torch.no_grad():
        greedy = load(family, folder)[0].generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), **visual(family, given, 2), **extra, max_new_tokens=10,
                                                  do_sample=False, eos_token_id=[], pad_token_id=0)
    tensors["greedy"] = greedy[:, prompt.shape[1]:]
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "case-0.safetensors")
    write_gradients(family, model, folder / "gradients-0")
