#!/usr/bin/env python3
"""open_clip's configurations by name, and how its models and timm's start.

    open_clip_presets.py OUT NAMES...    OUT/configs.json: model_cfg of each name, null where open_clip has none
                                         OUT/init.json: mean and standard deviation of each fresh tensor of INIT
    open_clip_presets.py --timm NAMES... prints, as JSON, what timm builds each architecture with
"""
import json
import pathlib
import sys

import open_clip
import timm
import torch

INIT = "ViT-S-32-alt"


def timm_options(name):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    block = model.blocks[0]
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    act = type(block.mlp.act).__name__, getattr(block.mlp.act, "approximate", "none")
    return dict(shapes={k: list(v.shape) for k, v in model.state_dict().items()}, eps=norms[0].eps, act=act, pool=model.global_pool,
                num_heads=block.attn.num_heads, fc_norm=isinstance(model.fc_norm, torch.nn.LayerNorm))


def main():
    if sys.argv[1] == "--timm":
        print(json.dumps({name: timm_options(name) for name in sys.argv[2:]}))
        return
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    (out / "configs.json").write_text(json.dumps({name: open_clip.get_model_config(name) for name in sys.argv[2:]}))
    model = open_clip.create_model(INIT)
    state = {"state." + k: [v.float().mean().item(), v.float().std(correction=0).item()] for k, v in model.named_parameters()}
    (out / "init.json").write_text(json.dumps(state))


if __name__ == "__main__":
    main()
