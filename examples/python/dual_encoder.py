"""Reads a dual encoder that weft saved, with transformers and safetensors, and embeds as weft does.

    python dual_encoder.py FOLDER [--text "a dog" ...] [image files ...]
"""
import argparse, json, pathlib
import safetensors.torch, torch, torch.nn.functional as F
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, PreTrainedTokenizerFast


class DualEncoder:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        self.heads = safetensors.torch.load_file(self.folder / "model.safetensors")
        self.towers = {side: AutoModel.from_pretrained(self.folder / side, output_loading_info=True) for side in ("image", "text")}

    def project(self, side, output, mask):
        """[B, N, D] tokens of a tower -> unit rows [B, embed_dim]; mask [B, N], 1 = counts in the mean."""
        tokens, pool = output.last_hidden_state.float(), self.config[side + "_pool"]
        mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        last = tokens[torch.arange(len(tokens)), (mask * torch.arange(mask.shape[1])).argmax(1)]
        trained = not any("pooler" in key for key in self.towers[side][1]["missing_keys"])  # transformers makes up what a file lacks
        encoder = output.pooler_output if output.get("pooler_output") is not None and trained else tokens[:, 0]
        pooled = {"encoder": encoder, "cls": tokens[:, 0], "mean": mean, "last": last, "cls+mean": torch.cat([tokens[:, 0], mean], 1)}[pool]
        weight = self.heads.get(side + "_projection.weight")  # absent where the tower's vector is in the shared space already
        return F.normalize(pooled if weight is None else F.linear(pooled, weight, self.heads.get(side + "_projection.bias")), dim=-1)

    @torch.no_grad()
    def encode_image(self, pixels):  # [B, 3, H, W], normalised
        tower = self.towers["image"][0].eval()
        output = tower(pixel_values=pixels)
        mask = torch.ones(output.last_hidden_state.shape[:2])
        mask[:, : 1 + getattr(tower.config, "num_register_tokens", 0)] = 0
        return self.project("image", output, mask)

    @torch.no_grad()
    def encode_text(self, ids, mask):  # [B, N], 1 = real
        return self.project("text", self.towers["text"][0].eval()(input_ids=ids, attention_mask=mask), mask)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder"), parser.add_argument("images", nargs="*"), parser.add_argument("--text", nargs="*", default=[])
    args = parser.parse_args()
    model = DualEncoder(args.folder)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(model.folder / "tokenizer.json"), pad_token="[PAD]")
    for text in args.text:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        print(json.dumps({"text": text, "embedding": model.encode_text(ids, torch.ones_like(ids))[0].tolist()}))
    for path in args.images:
        pixels = AutoImageProcessor.from_pretrained(model.folder / "image")(Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
        print(json.dumps({"image": path, "embedding": model.encode_image(pixels)[0].tolist()}))
