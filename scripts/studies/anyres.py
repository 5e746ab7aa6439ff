"""How small may text be? Four words in a picture, of shrinking height, are read from one view of it, or from its tiles too. The words of
validation were not in training, and a word is spelled, so that each letter is a token of its own: what is right has been read."""
import json
import random
import statistics

import study
from plot import line_plot

FLAGS = {"steps": (110, "training steps of 4 pictures"), "seeds": ([0], "a run of each arm for every seed"),
         "heights": ([24, 16, 12, 8, 6], "of capital letters, in pixels of the picture"), "questions": (32, "validation words of each height"),
         "letters": (2, "of a word, consonants and vowels in turns"), "view": (70, "pixels a side of a view; a picture has twice as many"),
         "arms": (["base", "tiles"], "base, tiles, or whole: one view as large as the picture")}
CONSONANTS, VOWELS = "BDFHKLMNPRST", "AEIOU"
CORNERS = ("Top left?", "Top right?", "Bottom left?", "Bottom right?")
HELD_OUT = 0.2


def words(count):
    """All words of so many letters, in a fixed random order: those of training and of validation."""
    out = [""]
    for i in range(count):
        out = [word + letter for word in out for letter in (VOWELS if i % 2 else CONSONANTS)]
    random.Random(0).shuffle(out)
    held_out = round(HELD_OUT * len(out))
    return sorted(out[held_out:]), sorted(out[:held_out])


def font_of(height):
    """Pillow's own font with capitals of that height."""
    from PIL import ImageFont
    tall = lambda font: (lambda box: box[3] - box[1])(font.getbbox("H"))
    return next(font for font in (ImageFont.load_default(size) for size in range(4, 200)) if tall(font) >= height)


def pictures(work, name, count, vocabulary, args, heights, seed):
    """Pictures with a word in each corner; `heights(i, corner)` in pixels. Returns (id, file, words, heights) and the folder."""
    from PIL import Image, ImageDraw
    rng, folder, out = random.Random(seed), work / name, []
    folder.mkdir(exist_ok=True)
    side = args.view
    fonts = {height: font_of(height) for height in args.heights}
    for i in range(count):
        image = Image.new("RGB", (2 * side, 2 * side), tuple(rng.randrange(215, 256) for _ in range(3)))
        draw, chosen, tall = ImageDraw.Draw(image), [], []
        for corner in range(4):
            word, height = rng.choice(vocabulary), heights(i, corner, rng)
            left, top, right, bottom = draw.textbbox((0, 0), word, fonts[height])
            x = side * (corner % 2) + rng.randrange(2, max(3, side - 1 - (right - left)))
            y = side * (corner // 2) + rng.randrange(2, max(3, side - 1 - (bottom - top)))
            draw.text((x - left, y - top), word, tuple(rng.randrange(0, 90) for _ in range(3)), fonts[height])
            chosen.append(word)
            tall.append(height)
        image.save(folder / f"{i}.png")
        out.append((str(i), f"{i}.png", chosen, tall))
    return out, folder


def spelled(word):
    return " ".join(word)


def training(work, args):
    made, folder = pictures(work, "train", args.steps * study.BATCH, words(args.letters)[0], args, lambda i, corner, rng: rng.choice(args.heights), 1)
    rows = [study.conversation(name, file, [(question, spelled(word)) for question, word in zip(CORNERS, chosen)]) for name, file, chosen, _ in made]
    return study.written(work / f"train-{len(rows)}.json", rows), folder, len(rows)


def validation(work, args):
    """As many words of each height as there are questions, in all corners alike; id -> height."""
    heights = args.heights
    count = -(-args.questions * len(heights) // 4)
    made, folder = pictures(work, "validation", count, words(args.letters)[1], args, lambda i, corner, rng: heights[(i + corner) % len(heights)], 2)
    rows, tall = [], {}
    for name, file, chosen, sizes in made:
        for corner, question in enumerate(CORNERS):
            rows.append(study.conversation(f"{name}-{corner}", file, [(question, spelled(chosen[corner]))]))
            tall[rows[-1]["id"]] = sizes[corner]
    return study.written(work / f"validation-{len(rows)}.json", rows), folder, tall


def read(out, name, data, folder, tall, args, *more):
    """Of each height: the shares of words and of letters in their places that are right."""
    study.asked(out, name, out, data, folder, "vqa", "--max-new-tokens", args.letters + 2, "--out", out / name, *more)
    hits = {height: [] for height in args.heights}
    for line in (out / name / "predictions.jsonl").read_text().splitlines():
        row = json.loads(line)
        said, right = "".join(row["answer"].split()).upper(), "".join(row["expected"][0].split())
        hits[tall[row["id"]]].append((said == right, statistics.fmean(a == b for a, b in zip(said.ljust(len(right)), right))))
    return [{"height": height, "words": len(found), "exact": statistics.fmean(e for e, _ in found), "letters": statistics.fmean(c for _, c in found)}
            for height, found in hits.items()]


def run(args, work):
    data = training(work, args)
    val, val_folder, tall = validation(work, args)
    views = {"base": ("--tiling", "pad", "--image-size", args.view), "tiles": ("--tiling", "anyres", "--image-size", args.view),
             "whole": ("--tiling", "pad", "--image-size", 2 * args.view)}
    out = {}
    for seed in args.seeds:
        runs = {}
        for arm in args.arms:
            place = work / f"{arm}-{seed}"
            done = study.talk_stage(place, (*study.PARTS, *views[arm]), args.steps, data, seed)
            few = study.asked(place, "tokens", place, val, val_folder, "vqa", "--max-new-tokens", 1, "--limit", 1)
            runs[arm] = {**done, "visual_tokens": few["tokens"]["visual"],
                         "own_images": read(place, "read", val, val_folder, tall, args),
                         "shuffled_images": read(place, "shuffled", val, val_folder, tall, args, "--shuffle-images")}
        study.same_supervision(runs)
        for arm in args.arms:
            out.setdefault(arm, []).append(runs[arm])
    seen, new = words(args.letters)
    return {"pictures": data[2], "words_of_training": len(seen), "words_of_validation": len(new), "chance": 1 / (len(seen) + len(new)), "arms": out}


def of_height(runs, where, i, what):
    return [run[where][i][what] for run in runs]


def lines(result):
    rows = []
    for arm, runs in result["arms"].items():
        for i, height in enumerate(result["settings"]["heights"]):
            count = runs[0]["own_images"][i]["words"]
            rows.append([f"{arm}, {runs[0]['visual_tokens']} tokens", height,
                         study.against_control(*(of_height(runs, where, i, "exact") for where in ("own_images", "shuffled_images")), count),
                         study.percent(of_height(runs, "shuffled_images", i, "exact"), count),
                         *(f"{100 * statistics.fmean(of_height(runs, where, i, 'letters')):.1f}" for where in ("own_images", "shuffled_images")),
                         f"{statistics.fmean(run['seconds'] for run in runs):.0f} s"])
    head = ["arm", "height, px", "exact match, %", "shuffled images, %", "letters, %", "shuffled images, %", "training"]
    return [*study.table(head, rows), "", *study.notes(result, accuracies=True)]


def draw(result, path):
    curves = {f"{arm}, {label}": [(one["height"], 100 * statistics.fmean(of_height(runs, where, i, "letters"))) for i, one in enumerate(runs[0][where])]
              for arm, runs in result["arms"].items() for label, where in (("own images", "own_images"), ("shuffled images", "shuffled_images"))}
    line_plot(path.with_suffix(".svg"), curves, "height of capital letters, pixels of the picture", "letters in their place, %", log_x=True, zero=True,
              marks=True)


if __name__ == "__main__":
    study.main("anyres", __doc__, FLAGS, run, draw)
