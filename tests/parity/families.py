"""Random configurations of the families that weft registers, and transformers' own results for them in fp64."""
import json
import pathlib
import random
import types

import timm
import torch
import transformers
from safetensors.torch import save_file
from transformers.models.idefics3.modeling_idefics3 import Idefics3VisionTransformer
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionTransformer

ACTIVATIONS = ["gelu", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu"]


def shared(rng, index):
    heads = rng.choice([1, 2, 3, 5])
    return dict(hidden_size=heads * rng.choice([6, 10, 14]), num_attention_heads=heads, num_hidden_layers=rng.choice([2, 3]),
                hidden_act=ACTIVATIONS[(index + rng.randrange(2)) % len(ACTIVATIONS)], layer_norm_eps=rng.choice([1e-12, 1e-6, 1e-5, 1e-3]))


def image_config(rng, index):
    patch = rng.choice([3, 4, 7])
    return dict(shared(rng, index), patch_size=patch, image_size=patch * rng.choice([3, 4, 5]), qkv_bias=index % 2 == 0)


def dinov2(rng, index):
    gated = index == 1
    return dict(image_config(rng, index), mlp_ratio=rng.choice([2, 3, 4]), use_swiglu_ffn=gated, use_mask_token=index != 2)


def dinov2_with_registers(rng, index):
    return dict(image_config(rng, index), mlp_ratio=rng.choice([2, 3, 4]), use_swiglu_ffn=index == 1, num_register_tokens=rng.choice([1, 3, 4]))


def vit(rng, index):
    return dict(image_config(rng, index), intermediate_size=rng.choice([17, 30, 45]))


def bert(rng, index):
    return dict(shared(rng, index), intermediate_size=rng.choice([17, 30, 45]), vocab_size=rng.randrange(40, 90),
                max_position_embeddings=rng.randrange(20, 40), type_vocab_size=rng.choice([1, 2, 3]))


def clip_vision(rng, index):
    out = dict(image_config(rng, index), intermediate_size=rng.choice([17, 30, 45]))
    del out["qkv_bias"]
    return out


def idefics3_vision(rng, index):
    out = clip_vision(rng, index)
    if index == 2:  # fp32's rounding puts some patches of 25 a row elsewhere
        out.update(patch_size=2, image_size=50)
    return out


def internvl_vision(rng, index):
    out = dict(clip_vision(rng, index), attention_bias=index % 2 == 1, use_qk_norm=index in (0, 3), use_mask_token=index == 1,
               use_mean_pooling=index % 2 == 0, norm_type="rms_norm" if index == 0 else "layer_norm", layer_scale_init_value=0.1)
    out["image_size"], out["patch_size"] = [out["image_size"]] * 2, [out["patch_size"]] * 2
    return out


def side_of(value):
    """Of a square that a configuration gives as one number or as two."""
    return value if isinstance(value, int) else value[0]


def clip_text(rng, index):
    vocab = rng.randrange(40, 90)
    # 2 is what configurations held before the field meant anything: the largest id ends the text then.
    return dict(shared(rng, index), intermediate_size=rng.choice([17, 30, 45]), vocab_size=vocab, max_position_embeddings=rng.randrange(20, 40),
                eos_token_id=2 if index % 2 else vocab - 2)


def siglip_text(rng, index):
    return dict(clip_text(rng, index), projection_size=rng.choice([9, 22]), eos_token_id=1)


def timm_vit(rng, index):
    heads, patch = rng.choice([1, 2, 3]), rng.choice([3, 4, 7])
    clip, gap = index == 1, index == 2
    args = dict(img_size=patch * rng.choice([3, 4, 5]), patch_size=patch, embed_dim=heads * rng.choice([6, 10, 14]), depth=rng.choice([2, 3]),
                num_heads=heads, mlp_ratio=rng.choice([2.0, 3.5]), qkv_bias=index % 2 == 0, dynamic_img_size=True)
    if index == 3:
        args.update(init_values=1e-5, reg_tokens=rng.choice([1, 3]), no_embed_class=True, qk_norm=True, act_layer=rng.choice(["gelu_tanh", "silu"]))
    if index == 0:
        args["class_token"] = False
    return dict(architecture="vit_base_patch16_clip_quickgelu_224" if clip else "vit_base_patch16_siglip_224" if index == 0 else "vit_small_patch16_224",
                model_args=dict(args, global_pool="avg") if gap else args)


class TimmConfig:
    """timm's config.json behind the calls that transformers' configurations have."""
    num_channels = 3

    def __init__(self, architecture, model_args, **_):
        self.architecture, self.model_args = architecture, model_args
        self.patch_size, self.image_size = model_args["patch_size"], model_args["img_size"]

    @classmethod
    def from_pretrained(cls, folder):
        return cls(**json.loads((pathlib.Path(folder) / "config.json").read_text()))


class Timm(torch.nn.Module):
    """timm's model behind the calls that transformers' models have."""
    classes = 0

    def __init__(self, config, model=None):
        super().__init__()
        timm.layers.set_fused_attn(False)
        self.config = config
        self.model = model if model is not None else timm.create_model(config.architecture, num_classes=self.classes, **config.model_args)
        self.layers = self.model.blocks

    def save_pretrained(self, folder, **_):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = dict(architecture=self.config.architecture, num_classes=self.classes, num_features=self.model.num_features,
                      global_pool=self.model.global_pool, model_args=self.config.model_args,
                      pretrained_cfg=dict(num_classes=self.classes, classifier="head", first_conv="patch_embed.proj", input_size=[3, self.config.image_size, self.config.image_size], mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4]))
        (folder / "config.json").write_text(json.dumps(config))
        save_file({name: value.contiguous() for name, value in self.model.state_dict().items()}, folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder, dtype=None, **_):
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)  # strict
        out = cls(TimmConfig.from_pretrained(folder), model.to(dtype))
        return out, {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}

    def forward(self, pixel_values):
        tokens = self.model.forward_features(pixel_values)
        return types.SimpleNamespace(last_hidden_state=tokens, pooler_output=self.model.forward_head(tokens, pre_logits=True))


class TimmWithHead(Timm):
    classes = 5


# family: configuration class, its draw, the model, a model with a head on top, where the blocks are
FAMILIES = {
    "dinov2": (transformers.Dinov2Config, dinov2, transformers.Dinov2Model, transformers.Dinov2ForImageClassification),
    "dinov2_with_registers": (transformers.Dinov2WithRegistersConfig, dinov2_with_registers, transformers.Dinov2WithRegistersModel,
                              transformers.Dinov2WithRegistersForImageClassification),
    "vit": (transformers.ViTConfig, vit, transformers.ViTModel, transformers.ViTForImageClassification),
    "bert": (transformers.BertConfig, bert, transformers.BertModel, transformers.BertForMaskedLM),
    "clip_vision_model": (transformers.CLIPVisionConfig, clip_vision, transformers.CLIPVisionModel, transformers.CLIPVisionModelWithProjection),
    "clip_text_model": (transformers.CLIPTextConfig, clip_text, transformers.CLIPTextModel, transformers.CLIPTextModelWithProjection),
    "siglip_vision_model": (transformers.SiglipVisionConfig, clip_vision, transformers.SiglipVisionModel, transformers.SiglipVisionModel),
    "idefics3_vision": (transformers.Idefics3VisionConfig, idefics3_vision, Idefics3VisionTransformer, Idefics3VisionTransformer),
    "internvl_vision": (transformers.InternVLVisionConfig, internvl_vision, transformers.InternVLVisionModel, transformers.InternVLVisionModel),
    "smolvlm_vision": (transformers.SmolVLMVisionConfig, idefics3_vision, SmolVLMVisionTransformer, SmolVLMVisionTransformer),
    "timm_vit": (TimmConfig, timm_vit, Timm, TimmWithHead),
    "siglip_text_model": (transformers.SiglipTextConfig, siglip_text, transformers.SiglipTextModel, transformers.SiglipTextModel),
}
TEXT = {"bert", "clip_text_model", "siglip_text_model"}


BUCKETS = {"idefics3_vision", "smolvlm_vision"}  # whose images may fill a part of the grid


def randomize(model, generator):
    """Every parameter gets values that matter: no bias at 0, no scale at 1."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name.lower() and name.endswith("weight") or "lambda1" in name or "gamma" in name:
                p.copy_(1 + 0.2 * noise)
            elif p.dim() >= 2 and "embeddings" not in name:
                p.copy_(noise * p[0].numel() ** -0.5)
            else:
                p.copy_(0.3 * noise)


def blocks(model):
    if hasattr(model, "layers"):
        return model.layers
    return model.encoder.layers if hasattr(model.encoder, "layers") else model.encoder.layer


def blocks_of_names(model, *paths):
    """The first of these submodules that the model has."""
    for path in paths:
        try:
            return model.get_submodule(path)
        except AttributeError:
            pass
    raise AttributeError(f"none of {paths}")


def inputs(family, config, rng, generator):
    """Named inputs: images on the table's own grid and on two others (some that do not fill them), or token batches with their masks."""
    if family in TEXT:
        out = {}
        for k, batch in enumerate([1, 3]):
            length = rng.randrange(8, config.max_position_embeddings + 1)
            ids = torch.randint(1, config.vocab_size, (batch, length), generator=generator)
            lengths = torch.tensor([length if b == 0 else rng.randrange(1, length) for b in range(batch)])
            mask = torch.arange(length)[None, :] < lengths[:, None]
            if family == "siglip_text_model":  # reads its padding
                mask = torch.ones_like(mask)
            if family == "clip_text_model":
                ids = ids.clamp(3, config.vocab_size - 3)
                ids[range(batch), lengths - 1] = config.vocab_size - 1 if config.eos_token_id == 2 else config.eos_token_id
            out[str(k)] = {"ids": ids * mask, "mask": mask}  # id 0 pads only: transformers gives its row no gradient
        return out
    p = side_of(config.patch_size)
    side = side_of(config.image_size) // p
    grids = [(side, side), (side + rng.randrange(1, 4), side + 1), (side - 1, side + rng.randrange(1, 3))]
    sizes = [(h * p, w * p) for h, w in grids]
    if family != "timm_vit":  # which takes whole patches only
        sizes[2] = (sizes[2][0] + 1, sizes[2][1] + p - 1)  # pixels beyond the last whole patch
    out = {str(k): {"pixels": torch.randn(2, config.num_channels, *size, generator=generator)} for k, size in enumerate(sizes)}
    if family in BUCKETS:
        (h, w), first = grids[1], torch.ones(1, *grids[1], dtype=torch.bool)
        part = torch.zeros(1, h, w, dtype=torch.bool)
        part[:, :h - 1, :w - rng.randrange(1, 3)] = True
        out["1"]["mask"] = torch.cat([first, part]).flatten(1)
    return out


def run(family, model, given):
    """tokens, pooled (where the model has it) and every hidden layer before the final norm, padding set to 0."""
    hidden = []
    layers = blocks(model)
    first = lambda x: x[0] if isinstance(x, tuple) else x
    hooks = [layers[0].register_forward_pre_hook(lambda m, a, k: hidden.append(first(a if a else k["hidden_states"])), with_kwargs=True)]
    hooks += [layer.register_forward_hook(lambda m, a, out: hidden.append(first(out))) for layer in layers]
    dtype = next(model.parameters()).dtype
    if family in TEXT:
        out = model(input_ids=given["ids"], attention_mask=given["mask"].long())
        keep = given["mask"][:, :, None].to(dtype)
    else:
        extra, keep = {"interpolate_pos_encoding": True}, 1
        if family.startswith(("dinov2", "timm")) or family.endswith("_vision"):
            extra = {}
        if "mask" in given:
            height, width = (n // model.config.patch_size for n in given["pixels"].shape[2:])
            extra["patch_attention_mask"] = given["mask"].view(-1, height, width)
            keep = given["mask"][:, :, None].to(dtype)
        out = model(pixel_values=given["pixels"].to(dtype), **extra)
    for hook in hooks:
        hook.remove()
    results = {"tokens": out.last_hidden_state * keep}
    if getattr(out, "pooler_output", None) is not None:
        results["pooled"] = out.pooler_output
    for i, h in enumerate(hidden):
        results[f"hidden.{i}"] = h * keep
    return results


def load(family, folder, pooler=True):
    """transformers' model of a folder in fp64 with eager attention, and what it says about missing and unexpected keys."""
    extra = {"add_pooling_layer": False} if family in ("vit", "bert") and not pooler else {}
    model, info = FAMILIES[family][2].from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **extra)
    return model.double().eval(), info


def has_pooler(folder):
    from safetensors import safe_open
    names = [k for f in pathlib.Path(folder).glob("*.safetensors") for k in safe_open(f, "pt").keys()]
    return any(n.endswith("pooler.dense.weight") for n in names)


def rng_of(seed, *names):
    rng = random.Random(f"{seed}/" + "/".join(map(str, names)))
    return rng, torch.Generator().manual_seed(rng.randrange(2**62))
