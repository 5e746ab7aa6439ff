#!/usr/bin/env python3
"""Dual encoders of random configurations, and what transformers makes of them in fp64.

    duals.py OUT                    OUT/<model_type>/<k>/: the folder, case-0.safetensors, gradients-0/
    duals.py --reload OUT SAVED     holds weft's copies SAVED/<model_type>/<k> to the same results
"""
import json
import os
import pathlib
import sys

import open_clip
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file

import families

CONFIGURATIONS = {"open_clip": 5}  # else 3
PREPROCESS = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "interpolation": "bilinear", "resize_mode": "squash"}


def clip(rng, k):
    text, vision = families.clip_text(rng, k), families.clip_vision(rng, k)
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=rng.choice([11, 16])))


def siglip(rng, k):
    text, vision = families.siglip_text(rng, k), families.clip_vision(rng, k)
    text["projection_size"] = vision["hidden_size"]
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))


def vision_text(rng, k):
    name = ("vit", "dinov2", "clip_vision_model")[k]
    config_class, draw = families.FAMILIES[name][:2]
    text = transformers.BertConfig(**families.bert(rng, k))
    config = transformers.VisionTextDualEncoderConfig(vision_config=config_class(**draw(rng, k)).to_dict(), text_config=text.to_dict(), projection_dim=13)
    return transformers.VisionTextDualEncoderModel(config)


def open_clip_config(rng, k):
    heads, patch = rng.choice([1, 2]), rng.choice([3, 4])
    vision = dict(image_size=patch * 4, patch_size=patch, layers=2, width=heads * 14, head_width=14, mlp_ratio=rng.choice([2.0, 4.0]))
    text = dict(context_length=rng.randrange(20, 30), vocab_size=rng.randrange(40, 90), width=heads * 10, heads=heads, layers=3)
    if k == 1:
        vision["act_kwargs"] = text["act_kwargs"] = {"approximate": "tanh"}
        vision["norm_kwargs"] = text["norm_kwargs"] = {"eps": 1e-4}
    out = dict(embed_dim=rng.choice([11, 16]), vision_cfg=vision, text_cfg=text)
    if k == 0:
        out["quick_gelu"] = True
    if k >= 3:  # timm's trunk, once with a projection, once as SigLIP has it, beside SigLIP's text tower
        out["vision_cfg"] = dict(image_size=224, timm_model_name="vit_xsmall_patch16_clip_224", timm_pool="avg" if k == 3 else "token",
                                 timm_proj="linear" if k == 3 else "none", timm_proj_bias=k == 3)
        out["custom_text"] = True
    if k == 4:
        out["embed_dim"] = 256
        text.update(no_causal_mask=True, proj_bias=True, pool_type="last", norm_kwargs={"eps": 1e-6})
    return dict(out, init_logit_bias=-10.0) if k in (2, 4) else out


class OpenClip:
    """open_clip's model behind the calls that the others have."""

    def __init__(self, cfg, state=None):
        self.cfg = cfg
        kind = open_clip.CustomTextCLIP if cfg.get("custom_text") else open_clip.CLIP
        self.model = kind(**{name: value for name, value in cfg.items() if name != "custom_text"})
        if state:
            self.model.load_state_dict(state, strict=True)

    def save_pretrained(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": self.cfg, "preprocess_cfg": PREPROCESS}))
        save_file({name: value.float().contiguous() for name, value in self.model.state_dict().items()}, folder / "open_clip_model.safetensors")

    @classmethod
    def load(cls, folder):
        out = cls(json.loads((folder / "open_clip_config.json").read_text())["model_cfg"], load_file(folder / "open_clip_model.safetensors"))
        out.model.double().eval()
        return out

    def __call__(self, given):
        image, text, scale, bias = (self.model(given["pixels"].double(), given["ids"]) + (None,))[:4]
        logits = scale * image @ text.T
        if bias is None:
            target = torch.arange(len(image))
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        else:
            sign = 2 * torch.eye(len(image)) - 1
            loss = -F.logsigmoid(sign * (logits + bias)).sum() / len(image)
        return {"image": image, "text": text, "loss": loss}


KINDS = {"clip": (clip, transformers.CLIPModel), "siglip": (siglip, transformers.SiglipModel),
         "vision-text-dual-encoder": (vision_text, transformers.VisionTextDualEncoderModel),
         "open_clip": (lambda rng, k: OpenClip(open_clip_config(rng, k)), OpenClip)}


def load(kind, folder):
    if kind == "open_clip":
        return OpenClip.load(folder), {}
    model, info = KINDS[kind][1].from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    return model.double().eval(), info


def module(model):
    return model.model if isinstance(model, OpenClip) else model


def run(model, given):
    if isinstance(model, OpenClip):
        return model(given)
    out = model(input_ids=given["ids"], attention_mask=given["mask"].long(), pixel_values=given["pixels"].double(), return_loss=True)
    unit = lambda x: x / x.norm(dim=-1, keepdim=True)
    return {"image": unit(out.image_embeds), "text": unit(out.text_embeds), "loss": out.loss.reshape(())}


def draw_inputs(kind, model, rng, generator):
    if kind == "open_clip":
        text, side = model.cfg["text_cfg"], model.cfg["vision_cfg"]["image_size"]
        config = transformers.CLIPTextConfig(vocab_size=text["vocab_size"], max_position_embeddings=text["context_length"], eos_token_id=2)
    else:
        config, side = model.config.text_config, model.config.vision_config.image_size
    bidirectional = kind == "open_clip" and text.get("no_causal_mask")
    text_family = "siglip_text_model" if bidirectional else {"clip": "clip_text_model", "open_clip": "clip_text_model", "siglip": "siglip_text_model"}.get(kind, "bert")
    given = families.inputs(text_family, config, rng, generator)["1"]
    if kind == "open_clip":  # reads whole contexts
        pad = text["context_length"] - given["ids"].shape[1]
        given = {"ids": F.pad(given["ids"], (0, pad)), "mask": F.pad(given["mask"], (0, pad), value=bool(bidirectional))}
    given["pixels"] = torch.randn(len(given["ids"]), 3, side, side, generator=generator)
    return given


def write(out):
    seed = os.environ.get("WEFT_PARITY_SEED") or str(int.from_bytes(os.urandom(4), "little"))
    print(f"WEFT_PARITY_SEED={seed}")
    for kind, (make, _) in KINDS.items():
        for k in range(CONFIGURATIONS.get(kind, 3)):
            rng, generator = families.rng_of(seed, kind, k)
            folder = out / kind / str(k)
            model = make(rng, k)
            families.randomize(module(model), generator)
            with torch.no_grad():
                module(model).logit_scale.fill_(1.5)
            model.save_pretrained(folder)
            model, info = load(kind, folder)
            assert not info.get("missing_keys"), info
            given = draw_inputs(kind, model, rng, generator)
            expected = run(model, given)
            expected["loss"].backward()
            save_file({**given, **{name: value.detach().contiguous() for name, value in expected.items()}}, folder / "case-0.safetensors")
            with torch.no_grad():
                for p in module(model).parameters():
                    p.copy_(torch.zeros_like(p) if p.grad is None else p.grad)
            model.save_pretrained(folder / "gradients-0")


def reload(references, saved):
    problems, count = [], 0
    for folder in sorted(saved.glob("*/*")):
        kind = folder.parent.name
        model, info = load(kind, folder)
        problems += [f"{folder}: {key}: {sorted(info[key])}" for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info.get(key)]
        tensors = load_file(references / kind / folder.name / "case-0.safetensors")
        with torch.no_grad():
            for name, value in run(model, tensors).items():
                if (value - tensors[name]).abs().max() > 1e-12 * tensors[name].abs().max():
                    problems.append(f"{folder}: {name} differs by {(value - tensors[name]).abs().max()}")
        count += 1
    print("\n".join(problems) or f"{count} folders reload with equal results")
    sys.exit(bool(problems) or count == 0)


if __name__ == "__main__":
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if sys.argv[1] == "--reload":
        reload(*map(pathlib.Path, sys.argv[2:4]))
    else:
        write(pathlib.Path(sys.argv[1]))
