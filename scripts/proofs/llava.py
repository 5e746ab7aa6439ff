"""A LLaVA of DINOv2-S, an MLP and SmolLM2-135M-Instruct: alignment on Flickr8k captions, tuning on easy-VQA and Flickr8k conversations,
then every easy-VQA validation question asked alone, yes/no questions made from captions, captions, and boxes of rendered scenes.

    scripts/prove llava [FOLDER] [STAGE1_STEPS] [STAGE2_STEPS]     FOLDER keeps the runs: what is there is not done again

By default 300 and 1,600 steps where the processor has bf16, and 150 and 800 in fp32 where it has not."""
import collections
import json
import pathlib
import random
import re
import sys
import tempfile
import time

from common import FLICKR, MODELS, ROOT, need, write_result
from vlm import LLAVA, PARTS, PRECISION, caption_questions, evaluate, train, validation, without_yes_no

SIZE = 98  # 49 visual tokens
STEPS = ["300", "1600"] if PRECISION == "bf16" else ["150", "800"]
STAGE1_STEPS, STAGE2_STEPS = (int(a) for a in (sys.argv[2:4] + STEPS[len(sys.argv[2:4]):]))
MINUTES = 90
SCENES = 1700
THINGS = ("dog", "man", "woman", "boy", "girl", "water", "ball", "bike", "snow", "beach", "grass", "car", "street", "horse", "shirt", "child", "tree",
          "rock", "mountain", "pool", "camera", "hat", "sand", "field", "jacket")
COLOURS = {"red": (214, 39, 40), "green": (44, 160, 44), "blue": (31, 119, 180), "yellow": (230, 210, 40), "gray": (127, 127, 127), "teal": (23, 190, 207)}
SHAPES = ("circle", "rectangle", "triangle")
HELD_OUT = {("red", "triangle"), ("blue", "circle"), ("green", "rectangle")}  # seen in validation only


def stem(word):
    return re.compile(rf"\b{word}(s|es)?\b", re.I)


def yes_no_questions(work):
    """Balanced questions about the validation photos: a thing that at least 3 captions name, and one that none does."""
    rng, rows = random.Random(0), {"Yes": [], "No": []}
    folder = work / "val"
    folder.mkdir(exist_ok=True)
    for key, photo, captions in validation():
        (folder / f"{key}.jpg").write_bytes(photo)
        for thing in THINGS:
            named = sum(bool(stem(thing).search(c)) for c in captions)
            answer = "Yes" if named >= 3 else "No" if named == 0 else None
            if answer:
                article = "" if thing in ("water", "snow", "grass", "sand") else "a "
                rows[answer].append({"id": f"{key}-{thing}", "thing": thing, "image": f"{key}.jpg", "conversations": [
                    {"from": "human", "value": f"<image>\nIs there {article}{thing} in the image? Answer the question using a single word."},
                    {"from": "gpt", "value": answer}]})
    # As many of either answer for every thing, so that the thing alone tells nothing.
    out = []
    for thing in THINGS:
        yes, no = ([r for r in rows[a] if r["thing"] == thing] for a in ("Yes", "No"))
        count = min(len(yes), len(no))
        out += rng.sample(yes, count) + rng.sample(no, count)
    rng.shuffle(out)
    path = work / "yes_no.json"
    path.write_text(json.dumps(out))
    return path, folder, collections.Counter(r["conversations"][1]["value"] for r in out)


def scenes(work, name, count, held_out, seed):
    """Two or three shapes on a light ground, a question about the box of each; the held-out pairs of colour and shape appear in validation only."""
    from PIL import Image, ImageDraw
    rng, folder, rows = random.Random(seed), work / name, []
    folder.mkdir(exist_ok=True)
    for i in range(count):
        image = Image.new("RGB", (SIZE, SIZE), tuple(rng.randrange(225, 256) for _ in range(3)))
        draw, placed = ImageDraw.Draw(image), []
        pairs = [(c, s) for c in COLOURS for s in SHAPES if ((c, s) in HELD_OUT) == held_out]
        others = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in HELD_OUT]
        for k in range(rng.randrange(2, 4)):
            pair = rng.choice(pairs if k == 0 else others)
            for _ in range(60):
                side = rng.randrange(SIZE // 5 + 1, SIZE // 2)
                x, y = rng.randrange(0, SIZE - side), rng.randrange(0, SIZE - side)
                box = (x, y, x + side, y + side)
                if pair not in [p for p, _ in placed] and all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for _, b in placed):
                    break
            else:
                continue
            colour = COLOURS[pair[0]]
            if pair[1] == "circle":
                draw.ellipse(box, fill=colour)
            elif pair[1] == "rectangle":
                draw.rectangle(box, fill=colour)
            else:
                draw.polygon([(x + side // 2, y), (x, y + side), (x + side, y + side)], fill=colour)
            placed.append((pair, box))
        image.save(folder / f"{i}.png")
        asked = placed[:1] if held_out else placed
        turns = []
        for (colour, shape), box in asked:
            turns += [{"from": "human", "value": ("<image>\n" if not turns else "") + f"Where is the {colour} {shape}?"},
                      {"from": "gpt", "value": "[" + ", ".join(f"{v / SIZE:.2f}" for v in box) + "]"}]
        if turns:
            rows.append({"id": str(i), "image": f"{i}.png", "conversations": turns})
    path = work / f"{name}.json"
    path.write_text(json.dumps(rows))
    return path, folder


def draw_scenes(val_folder, said, path):
    """Twelve rendered validation scenes, what was asked, the model's box in black and the right one in white."""
    from PIL import Image, ImageDraw
    rows, columns, side, margin = 3, 4, 2 * SIZE, 34
    sheet = Image.new("RGB", (columns * (side + 8), rows * (side + margin)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(said.read_text().splitlines()[:rows * columns]):
        one = json.loads(line)
        x, y = i % columns * (side + 8), i // columns * (side + margin)
        sheet.paste(Image.open(val_folder / f"{re.match('[0-9]+', one['id'])[0]}.png").resize((side, side), Image.NEAREST), (x, y))
        for text, colour in ((one["expected"][0], "white"), (one["answer"], "black")):
            box = [float(v) for v in re.findall(r"[0-9.]+[0-9]", text)]
            if len(box) == 4 and box[0] <= box[2] and box[1] <= box[3]:
                draw.rectangle([x + box[0] * side, y + box[1] * side, x + box[2] * side, y + box[3] * side], outline=colour, width=2)
        draw.text((x + 2, y + side + 2), one["question"].strip(), fill="black")
        draw.text((x + 2, y + side + 14), one["answer"], fill="black")
    sheet.save(path, optimize=True)


def answers(out, *what):
    """What evaluate() gives, kept in the folder `out`."""
    done = out / "done.json"
    if not done.exists():
        done.write_text(json.dumps(evaluate(*what, "--out", out)))
    return json.loads(done.read_text())


def main():
    need(LLAVA, FLICKR, MODELS / "dinov2-small", MODELS / "smollm2-135m")
    start = time.time()
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        work.mkdir(parents=True, exist_ok=True)
        one = train(1, work / "s1", *PARTS, "--image-size", SIZE, "--data", FLICKR / "train-{000000..000006}.tar",
                    "--exclude", LLAVA / "flickr8k_val.json", "--total-steps", STAGE1_STEPS, "--batch-size", 16, "--lr", 1e-3)
        rates = ("--batch-size", 4, "--lr", 2e-4, "--connector-lr", 1e-3, "--turns", "shared")
        two = train(2, work / "s2", "--model", work / "s1", "--data", LLAVA / "mix_train.json", "--images", LLAVA,
                    "--total-steps", STAGE2_STEPS, "--group-by-length", *rates)
        trained = one["process"] + two["process"]
        asked = ("--single-turn", "--max-new-tokens", 8)
        vqa = lambda name, *more: answers(work / name, work / "s2", LLAVA / "easyvqa_val.json", LLAVA, "vqa", *asked, *more)
        easy, shuffled = vqa("easyvqa", "--priors", LLAVA / "easyvqa_train.json"), vqa("easyvqa_shuffled", "--shuffle-images")
        questions, photos, counts = yes_no_questions(work)
        pictured = lambda name, *more: answers(work / name, work / "s2", questions, photos, "yes-no", "--max-new-tokens", 4, *more)
        yes_no, yes_no_shuffled = pictured("yes_no"), pictured("yes_no_shuffled", "--shuffle-images")
        asked_captions = caption_questions(work / "captions.json", [(key, texts) for key, _, texts in validation()])
        captions = answers(work / "captions", work / "s2", asked_captions, photos, "caption", "--max-new-tokens", 32)
        data, folder = scenes(work, "scenes-train", SCENES, False, 1)
        val, val_folder = scenes(work, "scenes-val", 300, True, 2)
        three = train(2, work / "s3", "--model", work / "s2", "--data", data, "--images", folder, "--epochs", 1, *rates)
        boxes = lambda name, *more: answers(work / name, work / "s3", val, val_folder, "grounding", "--max-new-tokens", 32, *more)
        seen, blind, other = boxes("boxes"), boxes("boxes_blind", "--blind"), boxes("boxes_shuffled", "--shuffle-images")
        draw_scenes(val_folder, work / "boxes/predictions.jsonl", ROOT / "docs/results/llava_scenes.png")
    drop = lambda result: {k: v for k, v in result.items() if k not in ("seconds", "process", "damaged")}
    figures = {"precision": PRECISION, "image_size": SIZE, "minutes_of_both_stages": round(trained / 60, 1), "stage1": one, "stage2": two,
               "easy_vqa": drop(easy), "easy_vqa_not_yes_no": round(without_yes_no(easy), 4), "easy_vqa_shuffled_images": drop(shuffled),
               "yes_no_questions": counts, "yes_no": drop(yes_no), "yes_no_shuffled_images": drop(yes_no_shuffled), "captions": drop(captions),
               "grounding": {"minutes": round(three["process"] / 60, 1), "seen": drop(seen), "shuffled_images": drop(other), "blind": drop(blind)}}
    checks = {"both stages within 90 minutes": trained <= 60 * MINUTES, "easy-VQA at least 85 %": easy["accuracy"] >= 0.85,
              "easy-VQA without yes/no at least 85 %": without_yes_no(easy) >= 0.85,
              "1,000 yes/no questions": sum(counts.values()) >= 1000,
              "yes/no 5 points over shuffled images": yes_no["accuracy"] - yes_no_shuffled["accuracy"] >= 0.05,
              "grounding within 30 minutes": three["process"] <= 1800, "grounding at least 80 % at IoU 0.5": seen["accuracy"] >= 0.8}
    write_result("llava", {"checks": checks, **figures}, time.time() - start)
    sys.exit(not all(checks.values()))


if __name__ == "__main__":
    main()
