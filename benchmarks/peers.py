#!/usr/bin/env python3
"""The Python stack's side of scripts/benchmark: the works of benchmarks/*.cpp as a user of Pillow, torchvision, transformers,
tokenizers, safetensors and PyTorch writes them.

    peers.py --serve              answers compare.py as weft_bench does (benchmarks/main.cpp)
    peers.py --prepare FOLDER     makes the inputs that both sides read, once, from a fixed seed

Real photos, captions and weights are used where WEFT_SHARED_DIR and WEFT_MODELS_DIR hold them; else all is generated."""
import io, json, os, sys, tarfile, time
from pathlib import Path

LINEAR_CE = ((2048, 576, 49152), (2048, 2048, 32000))  # rows, width, classes: the head of SmolLM2-135M, and one of Llama's vocabulary
IMAGE_TOKEN = 49151
GATED_MLP = (1000, 576, 1536)  # rows, width, width inside: the layers of SmolLM2-135M
COMPLETE = "complete-5"  # the mark of inputs that prepare() made; changes with them

# --- works: args -> a function without arguments that does the timed part and returns tensors by name


def data_path(args):
    """open_clip's pipeline: its transform and tokenizer behind webdataset."""
    import torch
    import webdataset
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transform import image_transform
    transform, tokenizer = image_transform(args["size"], is_train=False), SimpleTokenizer(args["tokenizer"])
    pipeline = webdataset.DataPipeline(
        webdataset.SimpleShardList(args["shards"]), webdataset.split_by_worker, webdataset.tarfile_to_samples(), webdataset.decode("pilrgb"),
        webdataset.rename(image="jpg", text="json", key="__key__"),
        webdataset.map_dict(image=transform, text=lambda text: tokenizer(text["captions"][0])[0]),
        webdataset.to_tuple("image", "text", "key"), webdataset.batched(args["batch_size"], partial=True))
    middle = slice(args["size"] // 2, args["size"] // 2 + 2)

    def work():
        keys, centres, ids = [], [], []
        for images, tokens, names in webdataset.WebLoader(pipeline, batch_size=None, num_workers=args["peer_workers"]):
            keys += names
            centres.append(images[:, :, middle, middle].clone())
            ids.append(tokens)
        order = torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))
        return {"centres": torch.cat(centres)[order], "ids": torch.cat(ids)[order]}
    return work


def jpeg_to_tensor(args):
    import torch
    from PIL import Image
    from torchvision import transforms
    size = args["size"]
    with tarfile.open(args["images"]) as tar:
        files = [tar.extractfile(member).read() for member in tar]
    transform = transforms.Compose([
        transforms.Resize(size, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(size), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    return lambda: {"pixels": torch.stack([transform(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])}


def encode(args):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel
    from transformers.utils import logging
    logging.disable_progress_bar()
    model = AutoModel.from_pretrained(args["model"]).eval()
    tensors = load_file(args["inputs"])
    precision = args["precision"]
    if precision == "fp64":  # the reference that both sides are held to
        model = model.double()
        tensors = {name: value.double() if value.is_floating_point() else value for name, value in tensors.items()}
    batches = [(tensors[f"ids.{i}"], tensors[f"mask.{i}"]) for i in range(len(tensors) // 2)] if "ids.0" in tensors else []

    def mean(hidden, mask):
        mask = mask[..., None].to(torch.float64 if precision == "fp64" else torch.float32)
        return (hidden.to(mask.dtype) * mask).sum(1) / mask.sum(1)

    def work():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            if not batches:
                return {"output.0": model(pixel_values=tensors["pixels"]).last_hidden_state}
            return {f"output.{i}": mean(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask)
                    for i, (ids, mask) in enumerate(batches)}
    return work


def language_model(args):
    """The folder's model in the precision of args, and the ids."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging
    logging.disable_progress_bar()
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}[args["precision"]]
    return AutoModelForCausalLM.from_pretrained(args["model"], dtype=dtype).eval(), load_file(args["inputs"])["ids"]


def decode(args):
    import torch
    from transformers import DynamicCache
    model, ids = language_model(args)
    cache, prompt = DynamicCache(), args["prompt"]
    with torch.inference_mode():
        model(ids[:, :prompt], past_key_values=cache, use_cache=True, logits_to_keep=1)

    def work():
        with torch.inference_mode():
            if cache.get_seq_length() > prompt:
                cache.crop(prompt - cache.get_seq_length())
            for t in range(prompt, ids.shape[1]):
                out = model(ids[:, t:t + 1], past_key_values=cache, use_cache=True)
            return {"logits": out.logits}
    return work


def prefill(args):
    import torch
    model, ids = language_model(args)

    def work():
        with torch.inference_mode():
            return {"logits": model(ids, use_cache=True, logits_to_keep=1).logits}
    return work


def open_clip_model(args):
    """The folder's model and its batch, in the precision of args; autocast, where bf16 is asked for."""
    import torch, open_clip
    from safetensors.torch import load_file
    folder, precision = Path(args["model"]), args["precision"]
    model = open_clip.CLIP(**json.loads((folder / "open_clip_config.json").read_text())["model_cfg"], output_dict=True)
    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    batch = load_file(args["inputs"])
    if precision == "fp64":
        model, batch = model.double(), {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    return model, batch, lambda: torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def encode_clip(args):
    import torch
    model, batch, autocast = open_clip_model(args)
    model.eval()

    def work():
        with torch.inference_mode(), autocast():
            if "ids" in batch:
                return {"text": model.encode_text(batch["ids"], normalize=True)}
            return {"image": model.encode_image(batch["pixels"], normalize=True)}
    return work


def training(step, checked):
    """Its first run gives the losses of as many steps, of which the later ones follow from gradients and updates; every other run is one step."""
    import torch
    first = True

    def work():
        nonlocal first
        if not first:
            step()
            return {}
        first = False
        return {"losses": torch.stack([step() for _ in range(checked)])}
    return work


def train_clip(args):
    """A step of open_clip_train/train.py."""
    import math, torch
    from open_clip.loss import ClipLoss
    model, batch, autocast = open_clip_model(args)
    exclude = lambda n, p: p.ndim < 2 or "bn" in n or "ln" in n or "bias" in n or "logit_scale" in n
    named, criterion = list(model.named_parameters()), ClipLoss()
    optimizer = torch.optim.AdamW([{"params": [p for n, p in named if exclude(n, p)], "weight_decay": 0.0},
                                   {"params": [p for n, p in named if not exclude(n, p)], "weight_decay": 0.2}],
                                  lr=5e-4, betas=(0.9, 0.98), eps=1e-6)
    model.train()

    def step():
        optimizer.zero_grad()
        with autocast():
            loss = criterion(**model(batch["pixels"], batch["ids"]), output_dict=True)["contrastive_loss"]
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        return loss.detach()

    return training(step, 4)


def caption_batches(args):
    texts, size = json.loads(Path(args["texts"]).read_text()), args["batch_size"]
    return [texts[i:i + size] for i in range(0, len(texts), size)]


def tokenize(args):
    import numpy
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if args.get("threads", 1) > 1 else "false"
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(args["tokenizer"])
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    if "max_length" in args:
        tokenizer.enable_truncation(args["max_length"])
        tokenizer.enable_padding(length=args["max_length"], pad_id=tokenizer.token_to_id("<|endoftext|>"))
    batches = caption_batches(args)

    def work():
        ids = []
        for batch in batches:  # encode_batch_fast leaves the offsets out
            for encoding in tokenizer.encode_batch_fast(batch):
                ids.extend(encoding.ids)
        return {"ids": numpy.array(ids)}
    return work


def tokenize_open_clip(args):
    import torch
    from open_clip.tokenizer import SimpleTokenizer
    tokenizer, batches = SimpleTokenizer(args["tokenizer"]), caption_batches(args)

    def work():  # its cache of words stays from run to run
        return {"ids": torch.cat([tokenizer(batch, args["max_length"]).flatten() for batch in batches])}
    return work


def corpus_sums(batches):
    """How many ids, and a sum that depends on each one's place; as arrays, as it is part of what is timed."""
    import numpy
    count = total = 0
    for batch in batches:
        for ids in batch:
            ids = numpy.asarray(ids, dtype=numpy.int64)
            count, total = count + len(ids), total + int((ids * (numpy.arange(len(ids)) % 997 + 1)).sum())
    return {"count": numpy.array(count), "sum": numpy.array(total)}


def tokenize_corpus(args):
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if args["threads"] > 1 else "false"
    from tokenizers import Tokenizer
    tokenizer, batches = Tokenizer.from_file(args["tokenizer"]), caption_batches(args)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda: corpus_sums([one.ids for one in tokenizer.encode_batch_fast(batch, add_special_tokens=False)] for batch in batches)


def tokenize_tiktoken(args):
    """Whisper's vocabulary, with its pattern."""
    import base64
    import tiktoken
    lines = Path(args["tokenizer"]).read_bytes().split(b"\n")
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    pattern = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    encoding, batches = tiktoken.Encoding("multilingual", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}), caption_batches(args)
    return lambda: corpus_sums(encoding.encode_ordinary_batch(batch, num_threads=args["threads"]) for batch in batches)


def train_vlm(args):
    """A step of LLaVA's second stage as transformers' own classes take it: the tower under no_grad, all logits, padded rows."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, LlavaConfig, LlavaForConditionalGeneration
    from transformers.utils import logging
    logging.disable_progress_bar()
    batch, precision = load_file(args["inputs"]), args["precision"]
    vision, language = (AutoConfig.from_pretrained(args[part]) for part in ("vision", "language"))
    config = LlavaConfig(vision_config=vision, text_config=language, image_token_index=args["image_token"], vision_feature_layer=-1,
                         vision_feature_select_strategy="default", projector_hidden_act="gelu", tie_word_embeddings=True)
    model = LlavaForConditionalGeneration(config).float()  # the parts' files may say bf16
    model.model.vision_tower.load_state_dict(AutoModel.from_pretrained(args["vision"], dtype=torch.float32).state_dict())
    model.model.language_model.load_state_dict(AutoModelForCausalLM.from_pretrained(args["language"], dtype=torch.float32).model.state_dict())
    model.tie_weights()
    model.model.multi_modal_projector.load_state_dict({f"linear_{i + 1}.{kind}": batch[f"connector.layers_{i}.{kind}"]
                                                       for i in (0, 1) for kind in ("weight", "bias")})
    if precision == "fp64":
        model = model.double()
        batch["pixels"] = batch["pixels"].double()
    model.train()
    model.model.vision_tower.requires_grad_(False).eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-5, weight_decay=0.0, fused=True)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(input_ids=batch["ids"], attention_mask=batch["mask"], pixel_values=batch["pixels"], labels=batch["labels"], use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        return loss.detach()

    return training(step, 3)


def read_safetensors(args):
    import torch
    from safetensors.torch import load_file

    def work():
        tensors = load_file(args["path"])
        if not args["touch"]:
            return {"count": torch.tensor([len(tensors)])}
        return {"sums": torch.stack([tensors[name].sum() for name in sorted(tensors)])}
    return work


def read_tar(args):
    import numpy

    def work():
        members = size = names = 0
        with open(args["path"], "rb") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                data = tar.extractfile(member).read()
                members, size, names = members + 1, size + len(data), names + len(member.name)
                tar.members = []  # as webdataset does, or memory grows
        return {"totals": numpy.array([members, size, names])}
    return work


def info_nce(args):
    import torch
    from safetensors.torch import load_file
    from torch.nn.functional import cross_entropy
    double = args["precision"] == "fp64"
    tensors = {name: (value.double() if double else value).requires_grad_() for name, value in load_file(args["inputs"]).items()}
    image, text, scale = tensors["image"], tensors["text"], tensors["scale"]
    labels = torch.arange(len(image))

    def work():
        image.grad = text.grad = scale.grad = None
        logits = scale * image @ text.T
        loss = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
        loss.backward()
        return {"loss": loss, "image_grad": image.grad, "text_grad": text.grad, "scale_grad": scale.grad}
    return work


def torch_type(args):
    import torch
    return {"fp64": torch.float64, "fp32": torch.float32, "bf16": torch.bfloat16}[args["precision"]]


def linear_cross_entropy(args):
    """The head and the loss of transformers' language models."""
    from safetensors.torch import load_file
    from torch.nn.functional import cross_entropy, linear
    tensors, dtype = load_file(args["inputs"]), torch_type(args)
    x, weight = (tensors[name].to(dtype).requires_grad_() for name in ("x", "weight"))
    labels = tensors[f"labels.{args['labelled']}"]

    def work():
        x.grad = weight.grad = None
        logits = linear(x, weight)
        loss = cross_entropy(logits if args["precision"] == "fp64" else logits.float(), labels)
        loss.backward()
        return {"loss": loss, "x_grad": x.grad, "weight_grad": weight.grad}
    return work


def gated_mlp(args):
    """The feed-forward layer of transformers' Llama, as its formula."""
    from safetensors.torch import load_file
    from torch.nn.functional import linear, silu
    tensors, dtype = load_file(args["inputs"]), torch_type(args)
    names = ("x", "gate", "up", "down")
    x, gate, up, down = leaves = [tensors[name].to(dtype).requires_grad_() for name in names]
    above = tensors["above"].to(dtype)

    def work():
        for leaf in leaves:
            leaf.grad = None
        out = linear(silu(linear(x, gate)) * linear(x, up), down)
        out.backward(above)
        return {"out": out, **{f"{name}_grad": leaf.grad for name, leaf in zip(names, leaves)}}
    return work


def splice(args):
    """What transformers' Llava does between its towers and its language model, the check of the counts included."""
    import torch
    from safetensors.torch import load_file
    tensors = load_file(args["inputs"])
    embeddings, visual = (tensors[name].bfloat16().requires_grad_() for name in ("embeddings", "visual"))
    ids, above = tensors["ids"], tensors["embeddings"].bfloat16()

    def work():
        embeddings.grad = visual.grad = None
        mask = ids == 0
        if mask.sum() * embeddings.shape[-1] != visual.numel():
            raise ValueError("Image features and image tokens do not match")
        out = embeddings.masked_scatter(mask.unsqueeze(-1), visual)
        out.backward(above)
        return {"out": out, "embeddings_grad": embeddings.grad, "visual_grad": visual.grad}
    return work


def norm_passes(args, norm):
    """Both passes of a module that norms rows."""
    import torch
    from safetensors.torch import load_file
    tensors = {k: v.to(torch_type(args)) for k, v in load_file(args["inputs"]).items()}
    x = tensors["x"].requires_grad_()
    norm.weight = torch.nn.Parameter(tensors["weight"])

    def work():
        x.grad = norm.weight.grad = None
        out = norm(x)
        out.backward(tensors["above"])
        return {"out": out, "x_grad": x.grad, "weight_grad": norm.weight.grad}
    return work


def rms_norm(args):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm
    return norm_passes(args, LlamaRMSNorm(2048, 1e-5))


def rms_norm_torch(args):
    import torch
    return norm_passes(args, torch.nn.RMSNorm(2048, 1e-5))


def rope(args):
    import torch
    from safetensors.torch import load_file
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
    tensors, dtype = load_file(args["inputs"]), torch_type(args)
    q, k = (tensors[name].to(dtype).requires_grad_() for name in ("q", "k"))
    angles = (tensors["positions"][..., None].float() * tensors["inv_freq"]).repeat(1, 1, 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def work():
        q.grad = k.grad = None
        turned = apply_rotary_pos_emb(q.transpose(1, 2), k.transpose(1, 2), cos, sin)
        torch.autograd.backward(turned, [t.detach() for t in turned])
        return {"q": turned[0], "k": turned[1], "q_grad": q.grad, "k_grad": k.grad}
    return work


# What embed does, as one would write it with transformers; compare.py times the whole process.
FIRST_EMBEDDING = """
import json, sys
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging
logging.disable_progress_bar()
folder, text = sys.argv[1:]
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
batch = tokenizer([text], return_tensors="pt")
with torch.inference_mode():
    hidden = model(**batch).last_hidden_state
mask = batch["attention_mask"][..., None]
row = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))[0]
print(json.dumps({"text": text, "embedding": row.tolist()}))
"""

# --- worker


def write_outputs(path, outputs):
    import numpy
    from safetensors.numpy import save_file
    arrays = {}
    for name, value in outputs.items():
        if not isinstance(value, numpy.ndarray):
            value = value.detach()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
        arrays[name] = numpy.asarray(value, order="C")
    save_file(arrays, path)


def peak_mb():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM:"))


def serve():
    work = None
    for line in sys.stdin:
        request = json.loads(line)
        if "setup" in request:
            work = globals()[request["setup"]](request["args"])
            write_outputs(request["outputs"], work())
            answer = {"ready": True}
        elif "memory" in request:
            answer = {"mb": peak_mb()}
        else:
            start = time.perf_counter()
            for _ in range(request["run"]):
                work()
            answer = {"seconds": time.perf_counter() - start}
        print(json.dumps(answer), flush=True)


# --- inputs


def picture(random, width, height):
    """Noise at every scale with a photo's spectrum, as a Pillow image."""
    import numpy
    from PIL import Image
    pixels = numpy.zeros((height, width, 3))
    for octave in range(1, 9):
        noise = random.standard_normal((2 ** octave, 2 ** octave, 3)) * 100 / 1.25 ** octave
        for channel in range(3):
            layer = Image.fromarray(noise[..., channel].astype(numpy.float32)).resize((width, height), Image.Resampling.BICUBIC)
            pixels[..., channel] += numpy.asarray(layer) * (1 if channel == 0 else 0.5) + (pixels[..., 0] * 0.5 / 8 if channel else 0)
    return Image.fromarray(numpy.clip(pixels + 128, 0, 255).astype(numpy.uint8))


def jpeg(image, quality):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def photos_and_captions(random, count):
    """128 x 128 JPEGs and captions: Flickr8k's where they are at hand."""
    shards = sorted(Path(os.environ["WEFT_SHARED_DIR"]).glob("data/flickr8k-128/train-*.tar"))
    photos, captions = [], []
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".jpg") and len(photos) < count:
                    photos.append(tar.extractfile(member).read())
                elif member.name.endswith(".json"):
                    captions += json.load(tar.extractfile(member))["captions"]
    if not shards:
        photos = [jpeg(picture(random, 128, 128), 88) for _ in range(count)]
        words = [["a", "the", "one", "another", "some"], ["small", "brown", "wet", "young", "smiling", "tired", "striped"],
                 ["dog", "girl", "man", "skateboarder", "climber", "child", "horse"], ["runs", "jumps", "is sitting", "looks", "balances"],
                 ["over", "next to", "behind", "in front of"], ["a wooden fence", "the river", "two parked bicycles", "a snow-covered hill"],
                 [".", " while it rains.", ", wearing a red jacket.", " as other people watch."]]
        captions = [" ".join(random.choice(choices) for choices in words).replace(" .", ".").replace(" ,", ",") for _ in range(10240)]
    return photos, captions


def text_model(folder, captions):
    """MiniLM's shape with random weights, and a WordPiece vocabulary of the captions."""
    from tokenizers import BertWordPieceTokenizer
    from tokenizers.processors import BertProcessing
    from transformers import BertConfig, BertModel
    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(captions, vocab_size=2000)
    tokenizer.post_processor = BertProcessing(("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]")))
    BertModel(BertConfig(vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]"}')


def clip_models(folder, captions):
    """open_clip's ViT-B/32 and a small CLIP with fresh weights, and batches for both."""
    import open_clip, torch
    from safetensors.torch import save_file
    small = dict(embed_dim=256, vision_cfg=dict(image_size=112, patch_size=16, layers=6, width=256),
                 text_cfg=dict(context_length=32, vocab_size=49408, width=256, heads=4, layers=4))
    for name, config in (("clip-b-32", open_clip.get_model_config("ViT-B-32")), ("clip-small", small)):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
        state = open_clip.CLIP(**config).state_dict()
        save_file({key: value.contiguous() for key, value in state.items()}, folder / name / "open_clip_model.safetensors")
    save_file({"pixels": torch.randn(16, 3, 224, 224)}, folder / "pixels-16x224.safetensors")
    save_file({"ids": open_clip.tokenize(captions[:16])}, folder / "captions-16x77.safetensors")
    save_file({"pixels": torch.randn(64, 3, 112, 112), "ids": open_clip.tokenize(captions[:64], context_length=32)},
              folder / "clip-batch.safetensors")


def language_inputs(folder):
    """What a language model of LLaVA's kind has around its layers."""
    import torch
    from safetensors.torch import save_file
    for rows, width, classes in LINEAR_CE:
        tensors = {"x": torch.randn(rows, width), "weight": torch.randn(classes, width) * width ** -0.5}
        for percent in (100, 30, 10):
            labelled = torch.rand(rows).argsort() < rows * percent // 100
            tensors[f"labels.{percent}"] = torch.randint(classes, (rows,)).where(labelled, -100)
        save_file(tensors, folder / f"linear-ce-{width}.safetensors")
    tokens, width, images = 4096, 4096, 7 * 576
    ids = torch.ones(1, tokens, dtype=torch.int64)
    for i in range(7):
        ids[0, 8 + i * 584:8 + i * 584 + 576] = 0
    save_file({"embeddings": torch.randn(1, tokens, width), "visual": torch.randn(images, width), "ids": ids}, folder / "splice.safetensors")
    save_file({"x": torch.randn(4096, 2048), "weight": torch.rand(2048), "above": torch.randn(4096, 2048)}, folder / "rms-norm.safetensors")
    save_file({"q": torch.randn(1, 4096, 28, 128), "k": torch.randn(1, 4096, 4, 128), "positions": torch.arange(4096)[None],
               "inv_freq": 1e6 ** (-torch.arange(64) / 64)}, folder / "rope.safetensors")


def conversations(folder):
    """Eight samples of one image of 98 pixels and 40 to 340 further tokens, of which 30 % are an answer's; padded on the right."""
    import torch
    from safetensors.torch import save_file
    lengths = torch.linspace(40, 340, 8).long()[torch.randperm(8)] + 49
    rows, columns = len(lengths), int(lengths.max())
    ids, labels = torch.zeros(rows, columns, dtype=torch.int64), torch.full((rows, columns), -100)
    mask = (torch.arange(columns) < lengths[:, None]).long()
    for row, length in enumerate(lengths.tolist()):
        ids[row, :length] = torch.randint(100, 40_000, (length,))
        ids[row, 4:53] = IMAGE_TOKEN
        answered = torch.rand(length) < 0.3
        answered[:53] = False
        labels[row, :length] = ids[row, :length].where(answered, -100)
    tensors = {"ids": ids, "mask": mask, "labels": labels, "pixels": torch.randn(rows, 3, 98, 98)}
    for i, width in enumerate((384, 576)):
        tensors |= {f"connector.layers_{i}.weight": torch.randn(576, width) * 0.03, f"connector.layers_{i}.bias": torch.zeros(576)}
    save_file(tensors, folder / "conversations.safetensors")


def corpus(path, captions, megabytes=100):
    """Documents of up to 4 kB, no two alike: captions, and the sources and texts of the Python packages that the peers come with."""
    import sysconfig
    documents, size, packages = ["\n".join(captions[i:i + 60]) for i in range(0, len(captions), 60)], 0, Path(sysconfig.get_paths()["purelib"])
    for file in sorted(p for kind in ("py", "md", "txt", "rst", "h", "pyi") for p in packages.rglob(f"*.{kind}")):
        text = file.read_text(errors="ignore")
        documents += [text[i:i + 4000] for i in range(0, len(text), 4000)]
        size += len(text.encode())
        if size > 2 * megabytes * 1_000_000:
            break
    kept, size = [], 0
    for document in sorted(set(documents), key=lambda text: hash_of(text)):
        kept.append(document)
        size += len(document.encode())
        if size >= megabytes * 1_000_000:
            break
    Path(path).write_text(json.dumps(kept))


def hash_of(text):
    import hashlib
    return hashlib.sha256(text.encode()).digest()


def prepare(folder):
    import numpy
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer
    from transformers import ViTConfig, ViTModel
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(0)
    torch.manual_seed(0)

    photos, captions = photos_and_captions(random, 256)
    write_tar(folder / "photos-128.tar", [(f"{i:04}.jpg", photo) for i, photo in enumerate(photos)])
    write_tar(folder / "photos-500.tar", [(f"{i:04}.jpg", jpeg(picture(random, 500, 375), 90)) for i in range(64)])
    captions = [captions[i] for i in random.permutation(len(captions))[:10240]]
    (folder / "captions.json").write_text(json.dumps(captions))

    ViTModel(ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536),
             add_pooling_layer=False).save_pretrained(folder / "vit-small")
    models = Path(os.environ["WEFT_MODELS_DIR"])
    for name in ("minilm-l6", "dinov2-small", "smollm2-135m"):
        if (models / name).is_dir() and not (folder / name).exists():
            (folder / name).symlink_to((models / name).resolve())
    if not (folder / "minilm-l6").exists():
        text_model(folder / "minilm-l6", captions)
    for tokens in (96, 512):
        save_file({"ids": torch.randint(100, 40_000, (1, tokens))}, folder / f"text-{tokens}.safetensors")
    for batch, side in ((1, 224), (64, 224), (64, 126)):
        save_file({"pixels": torch.randn(batch, 3, side, side)}, folder / f"pixels-{batch}x{side}.safetensors")

    tokenizer = Tokenizer.from_file(str(folder / "minilm-l6" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    by_length, tokens = sorted(captions, key=len), {}
    for i in range(4):  # four batches from short captions to long ones
        start = (2 * i + 1) * len(by_length) // 8
        batch = tokenizer.encode_batch(by_length[start:start + 128])
        tokens[f"ids.{i}"] = torch.tensor([encoding.ids for encoding in batch])
        tokens[f"mask.{i}"] = torch.tensor([encoding.attention_mask for encoding in batch])
    save_file(tokens, folder / "captions-128.safetensors")

    save_file({f"layers.{i:03}.weight": torch.randn(1024, 1024) for i in range(256)}, folder / "weights.safetensors")
    for size, count in ((1_000, 10_000), (10_000, 10_000), (100_000, 1_000)):
        write_tar(folder / f"members-{size // 1000}k.tar", [(f"{i:06}.bin", random.bytes(size)) for i in range(count)])
    for rows in (1024, 4096):
        image, text = (torch.nn.functional.normalize(torch.randn(rows, 512), dim=1) for _ in range(2))
        save_file({"image": image, "text": text, "scale": torch.tensor(14.3)}, folder / f"pairs-{rows}.safetensors")
    language_inputs(folder)
    conversations(folder)
    corpus(folder / "corpus.json", captions)
    clip_models(folder, captions)
    rows, width, inner = GATED_MLP
    save_file({"x": torch.randn(rows, width), "above": torch.randn(rows, width), "gate": torch.randn(inner, width) * width ** -0.5,
               "up": torch.randn(inner, width) * width ** -0.5, "down": torch.randn(width, inner) * inner ** -0.5}, folder / "gated-mlp.safetensors")
    (folder / COMPLETE).touch()


if __name__ == "__main__":
    serve() if sys.argv[1] == "--serve" else prepare(Path(sys.argv[2]))
