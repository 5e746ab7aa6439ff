"""What the evaluations are held to, made fresh: references.py zero_shot|logistic OUT_FOLDER."""
import argparse
import json
import os
import pathlib
import random
import sys

import torch
from safetensors.torch import save_file


def zero_shot(out, seed):
    """open_clip's classifier and accuracy on a model whose texts and images are rows of fixed tables."""
    import open_clip
    import open_clip_train.zero_shot
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    classes = [f"class {i}" for i in range(rng.randint(23, 47))]
    templates = ["a photo of a {}.", "a {} and a {}", "{}", "the large {}."][:rng.randint(2, 4)]
    width, images = rng.choice([16, 33, 64]), 500
    texts = [template.format(c, c) for c in classes for template in templates]
    table = torch.randn(len(texts), width, generator=generator)
    place = {text: i for i, text in enumerate(texts)}
    labels = torch.randint(len(classes), (images,), generator=generator)

    def accuracy(output, target, topk=(1,)):
        # open_clip's, whose float(array of one element) newer numpy refuses.
        correct = output.topk(max(topk), 1).indices.eq(target[:, None])
        return [correct[:, :k].sum().item() for k in topk]

    class Model:
        def encode_text(self, ids, normalize=False):
            rows = table[ids[:, 0]]
            return torch.nn.functional.normalize(rows, dim=-1) if normalize else rows

        def __call__(self, image):
            return {"image_features": image}

    functions = [lambda c, t=template: t.format(c, c) for template in templates]
    classifier = open_clip.build_zero_shot_classifier(
        Model(), lambda batch: torch.tensor([[place[text]] for text in batch]), classes, functions, num_classes_per_batch=10)
    rows = classifier.T[labels] + 0.35 * torch.randn(images, width, generator=generator)
    rows = torch.nn.functional.normalize(rows, dim=-1)
    loader = [(rows[i:i + 64], labels[i:i + 64]) for i in range(0, images, 64)]
    open_clip_train.zero_shot.accuracy = accuracy
    top1, top5 = open_clip_train.zero_shot.run(Model(), classifier, loader, argparse.Namespace(device="cpu", precision="fp32", batch_size=64))
    save_file({"table": table, "classifier": classifier.contiguous(), "images": rows, "labels": labels}, out / "zero_shot.safetensors")
    (out / "zero_shot.json").write_text(json.dumps({"top1": top1, "top5": top5, "texts": texts}))
    (out / "classes.json").write_text(json.dumps(classes))
    (out / "templates.txt").write_text("\n".join(templates) + "\n")


def logistic(out, seed):
    """Multinomial logistic regression by PyTorch's own L-BFGS in fp64 and autograd, run to the end of the precision."""
    generator = torch.Generator().manual_seed(seed)
    count, width, classes = 180, 7, 4
    x = (torch.randn(count, width, generator=generator) * torch.linspace(0.3, 3, width) + 0.5).float()
    y = (x @ torch.randn(width, classes, generator=generator) + 2 * torch.randn(count, classes, generator=generator)).argmax(1)
    tensors = {"x": x, "y": y}
    for c in (0.01, 1.0, 100.0):
        weight = torch.zeros(classes, width, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)

        def objective():
            # scikit-learn's: C * sum of losses + |w|^2 / 2, divided by C * N.
            loss = torch.nn.functional.cross_entropy(x.double() @ weight.T + bias, y, reduction="sum")
            return (c * loss + weight.square().sum() / 2) / (c * count)
        solver = torch.optim.LBFGS([weight, bias], max_iter=5000, max_eval=20000, tolerance_grad=1e-12, tolerance_change=1e-18,
                                   history_size=30, line_search_fn="strong_wolfe")

        def closure():
            solver.zero_grad()
            value = objective()
            value.backward()
            return value
        for _ in range(3):
            solver.step(closure)
        tensors[f"weight {c:g}"], tensors[f"objective {c:g}"] = weight.detach().clone(), objective().detach()
    save_file(tensors, out / "logistic.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    seed = int(os.environ.get("WEFT_PARITY_SEED", 0)) or random.SystemRandom().randrange(1, 2**31)
    print(f"tests/eval/references.py {sys.argv[1]}: WEFT_PARITY_SEED={seed}")
    {"zero_shot": zero_shot, "logistic": logistic}[sys.argv[1]](pathlib.Path(sys.argv[2]), seed)
