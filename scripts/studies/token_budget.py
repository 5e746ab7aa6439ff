"""What do visual tokens cost? Prompts and training steps with 0 to 8 pictures of 70 to 224 pixels: tokens per second and peak memory."""
import random
import shutil
import statistics

import study
from plot import line_plot

FLAGS = {"sizes": ([70, 98, 126, 224], "pixels a side, multiples of 14"), "images": ([1, 2, 4, 8], "pictures a sample"),
         "steps": (4, "training steps; the first is not timed")}
PHOTOS = 32
ROOM = 8192  # tokens, the language model's own
TOKENS = 2000  # of timed prompts, about


def samples(work, images, rows):
    """Samples of so many photos, one question and one caption."""
    rng, folder = random.Random(0), work / "photos"
    folder.mkdir(exist_ok=True)
    photos = list(study.validation())[:PHOTOS]
    for key, photo, _ in photos:
        (folder / f"{key}.jpg").write_bytes(photo)
    out = []
    for i in range(rows):
        chosen = rng.sample(photos, images)
        out.append(study.conversation(str(i), [f"{key}.jpg" for key, _, _ in chosen],
                                      [("What is to be seen here?", chosen[0][2][0] if chosen else "Nothing at all.")]))
    return study.written(work / f"samples-{images}-{rows}.json", out), folder


def prefill(work, model, name, size, images):
    """Prompts one by one, encoder and connector included; as many as make the first one's warming up small."""
    tokens = images * (size // 14) ** 2 + 16
    data, folder = samples(work, images, max(3, min(24, TOKENS // tokens)))
    result = study.asked(work, name, model, data, folder, "vqa", "--max-new-tokens", 1, "--batch-size", 1, "--feature-memory", 0,
                         "--max-length", ROOM, peak=True)
    seconds, asked = result["seconds"]["answers"], result["samples"]
    return {"prompt_tokens": result["tokens"]["prompts"] // asked, "visual_tokens": result["tokens"]["visual"] // asked,
            "ms": round(1000 * seconds / asked, 1), "tokens_per_second": round(result["tokens"]["prompts"] / seconds, 1),
            "peak_mb": result["peak_mb"]}


def step(work, size, images, steps):
    """Stage 2 on one sample a step; nothing of the encoder is kept, so that it runs in each."""
    data, folder = samples(work, images, steps)
    out = work / f"{size}-{images}"
    done = study.train(2, out, *study.PARTS, "--image-size", size, "--data", data, "--images", folder, "--conversation", "chatml", "--batch-size", 1,
                       "--max-length", ROOM, "--feature-memory", 0, "--total-steps", steps, peak=True)
    timed = study.steps_of(out)[1:]
    seconds = statistics.median(line["seconds"] for line in timed)
    return {"tokens": int(statistics.median(line["tokens"] for line in timed)), "seconds": round(seconds, 3),
            "tokens_per_second": round(statistics.median(line["tokens"] / line["seconds"] for line in timed), 1), "peak_mb": done["peak_mb"]}


def run(args, work):
    points, none = [], None
    for size in args.sizes:
        for images in args.images:
            trained, model = step(work, size, images, args.steps), work / f"{size}-{images}"
            none = none or prefill(work, model, "none", size, 0)
            points.append({"size": size, "images": images, "prefill": prefill(work, model, model.name, size, images), "step": trained})
            shutil.rmtree(model / "model", ignore_errors=True)  # 0.6 GB each
    return {"without_images": none, "points": points}


def lines(result):
    none = result["without_images"]
    rows = [["", 0, 0, none["prompt_tokens"], f"{none['ms']:.0f} ms", f"{none['tokens_per_second']:.0f}", f"{none['peak_mb'] / 1000:.2f} GB", "", "", ""]]
    for point in result["points"]:
        asked, step_ = point["prefill"], point["step"]
        rows.append([point["size"], point["images"], asked["visual_tokens"], asked["prompt_tokens"], f"{asked['ms']:.0f} ms",
                     f"{asked['tokens_per_second']:.0f}", f"{asked['peak_mb'] / 1000:.2f} GB", f"{step_['seconds']:.2f} s",
                     f"{step_['tokens_per_second']:.0f}", f"{step_['peak_mb'] / 1000:.2f} GB"])
    head = ["pixels", "images", "visual tokens", "prompt", "prefill", "tokens/s", "peak memory", "training step", "tokens/s", "peak memory"]
    return [*study.table(head, rows), "", *study.notes(result)]


def draw(result, path):
    curves = lambda figure: {f"{part}, {size} px": [(p["prefill"]["visual_tokens"], figure(p[key])) for p in result["points"] if p["size"] == size]
                             for key, part in (("prefill", "prefill"), ("step", "training")) for size in result["settings"]["sizes"]}
    line_plot(path.with_suffix(".svg"), curves(lambda one: one["tokens_per_second"]), "visual tokens of a sample", "tokens per second",
              log_x=True, zero=True, marks=True)
    line_plot(path.parent / f"{path.name}_memory.svg", curves(lambda one: one["peak_mb"] / 1000), "visual tokens of a sample", "peak memory, GB",
              log_x=True, zero=True, marks=True)


if __name__ == "__main__":
    study.main("token_budget", __doc__, FLAGS, run, draw)
