"""open_clip's side of `scripts/prove clip`: the same model, batches and schedule, as open_clip_train trains.

    clip_twin.py prepare FOLDER FLICKR EPOCHS
        the model as open_clip starts it, and the batches: shards whose order is the order of training, with crops, flips and captions
        drawn once for both
    clip_twin.py train FOLDER FLICKR VOCABULARY STEPS BATCH PRECISION SECONDS OUT
        trains; evaluates after SECONDS of training and at the end"""
import io, json, math, random, sys, tarfile, time
from pathlib import Path

SIZE, TOKENS = 96, 32
MODEL = dict(embed_dim=256, vision_cfg=dict(image_size=SIZE, patch_size=16, layers=6, width=256),
             text_cfg=dict(context_length=TOKENS, vocab_size=49408, width=256, heads=4, layers=4))
RECIPE = dict(lr=5e-4, wd=0.2, beta1=0.9, beta2=0.98, eps=1e-6, warmup=100, grad_clip_norm=1.0)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def samples(pattern):
    """(key, JPEG bytes, captions) of a folder's shards."""
    for shard in sorted(Path(pattern).parent.glob(Path(pattern).name)):
        with tarfile.open(shard) as tar:
            fields = {}
            for member in tar:
                key, _, extension = member.name.partition(".")
                fields.setdefault(key, {})[extension] = tar.extractfile(member).read()
        for key, sample in fields.items():
            yield key, sample["jpg"], json.loads(sample["json"])["captions"]


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def prepare(folder, flickr, epochs):
    import open_clip, torch
    from PIL import Image
    from safetensors.torch import save_file
    from torchvision.transforms import InterpolationMode, RandomHorizontalFlip, RandomResizedCrop
    random.seed(0)
    torch.manual_seed(0)
    (folder / "model").mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in open_clip.CLIP(**MODEL).state_dict().items()}, folder / "model/open_clip_model.safetensors")
    config = {"model_cfg": MODEL, "preprocess_cfg": {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}}
    (folder / "model/open_clip_config.json").write_text(json.dumps(config))
    crop, flip = RandomResizedCrop(SIZE, scale=(0.5, 1.0), interpolation=InterpolationMode.BICUBIC), RandomHorizontalFlip()
    train = list(samples(f"{flickr}/train-*.tar"))
    for epoch in range(epochs):
        random.shuffle(train)
        with tarfile.open(folder / f"train-{epoch:03}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i, (_, image, captions) in enumerate(train):
                seen, out = flip(crop(Image.open(io.BytesIO(image)).convert("RGB"))), io.BytesIO()
                seen.save(out, "JPEG", quality=95, subsampling=0)
                add(tar, f"{epoch:03}-{i:05}.jpg", out.getvalue())
                add(tar, f"{epoch:03}-{i:05}.txt", random.choice(captions).encode())
    (folder / "prepared.json").write_text(json.dumps({"epochs": epochs}))
    print(json.dumps({"samples": epochs * len(train)}))


def evaluate(model, tokenizer, transform, flickr):
    """R@k as clip_eval counts it: several captions an image."""
    import torch
    from PIL import Image
    model.eval()
    images, texts, owner = [], [], []
    with torch.inference_mode():
        for i, (_, image, captions) in enumerate(samples(f"{flickr}/val-*.tar")):
            images.append(transform(Image.open(io.BytesIO(image)).convert("RGB")))
            texts += captions
            owner += [i] * len(captions)
        encode = lambda function, rows: torch.cat([function(rows[i:i + 256], normalize=True).float() for i in range(0, len(rows), 256)])
        a, b = encode(model.encode_image, torch.stack(images)), encode(model.encode_text, tokenizer(texts))
        scores, owner = a @ b.T, torch.tensor(owner)
        recall = lambda right: {f"r{k}": right[:, :k].any(1).double().mean().item() for k in (1, 5, 10)}
        i2t = recall(owner[scores.topk(10, 1).indices] == torch.arange(len(a))[:, None])
        t2i = recall(scores.T.topk(10, 1).indices == owner[:, None])
    model.train()
    return {"image_to_text": i2t, "text_to_image": t2i}


def train(folder, flickr, vocabulary, steps, batch_size, precision, seconds, out):
    import open_clip, torch, webdataset
    from open_clip.loss import ClipLoss
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transform import image_transform
    from open_clip_train.scheduler import cosine_lr
    from safetensors.torch import load_file
    tokenizer = SimpleTokenizer(vocabulary, context_length=TOKENS)
    model = open_clip.CLIP(**MODEL, output_dict=True)
    model.load_state_dict(load_file(folder / "model/open_clip_model.safetensors"))
    transform = image_transform(SIZE, is_train=False, mean=MEAN, std=STD)
    shards = [str(path) for path in sorted(folder.glob("train-*.tar"))]
    pipeline = webdataset.DataPipeline(
        webdataset.SimpleShardList(shards), webdataset.tarfile_to_samples(), webdataset.decode("pilrgb"), webdataset.rename(image="jpg", text="txt"),
        webdataset.map_dict(image=transform, text=lambda text: tokenizer(text)[0]), webdataset.to_tuple("image", "text"),
        webdataset.batched(batch_size, partial=False))
    loader = webdataset.WebLoader(pipeline, batch_size=None, num_workers=1)  # decodes beside the model, in the shards' order
    exclude = lambda n, p: p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n  # open_clip_train/main.py
    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW([{"params": [p for n, p in named if exclude(n, p)], "weight_decay": 0.0},
                                   {"params": [p for n, p in named if not exclude(n, p)], "weight_decay": RECIPE["wd"]}],
                                  lr=RECIPE["lr"], betas=(RECIPE["beta1"], RECIPE["beta2"]), eps=RECIPE["eps"])
    adjust, criterion = cosine_lr(optimizer, RECIPE["lr"], RECIPE["warmup"], steps), ClipLoss()
    model.train()
    lines, result, spent, start = [], {}, 0.0, time.perf_counter()
    for step, (pixels, ids) in enumerate(loader):
        if step == steps:
            break
        adjust(step)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = criterion(**model(pixels, ids), output_dict=True)["contrastive_loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE["grad_clip_norm"], norm_type=2.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        now = time.perf_counter() - start - spent
        lines.append({"step": step + 1, "loss": loss.item(), "seconds": round(now, 3)})
        if (step + 1) % 50 == 0:
            print(f"open_clip: step {step + 1}/{steps}, loss {loss.item():.4f}, {now:.0f} s", file=sys.stderr, flush=True)
        if seconds > 0 and now >= seconds and "at_our_time" not in result:
            began = time.perf_counter()
            result["at_our_time"] = {"steps": step + 1, **evaluate(model, tokenizer, transform, flickr)}
            spent = time.perf_counter() - began
    result["seconds"] = lines[-1]["seconds"]
    result["at_the_end"] = {"steps": len(lines), **evaluate(model, tokenizer, transform, flickr)}
    result["lines"] = lines
    out.write_text(json.dumps(result))
    print(json.dumps({"steps": len(lines), "seconds": result["seconds"]}))


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    if verb == "prepare":
        prepare(Path(folder), rest[0], int(rest[1]))
    else:
        flickr, vocabulary, steps, batch_size, precision, seconds, out = rest
        train(Path(folder), flickr, vocabulary, int(steps), int(batch_size), precision, float(seconds), Path(out))
