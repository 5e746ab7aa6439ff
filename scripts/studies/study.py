"""What the studies share: flags, data, runs and their figures. Nothing here needs more than Python itself."""
import argparse
import json
import math
import pathlib
import random
import shlex
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "proofs"))
from common import FLICKR, ROOT, need, write_result
from vlm import LLAVA, PARTS, PRECISION, caption_questions, evaluate, samples, train, validation, without_yes_no

RESULTS = ROOT / "docs/results"
# Few steps want higher rates than LLaVA's: the same for every arm of every study.
BATCH, CAPTION_BATCH = 4, 16
TALK = ("--turns", "shared", "--conversation", "chatml", "--batch-size", BATCH, "--lr", 5e-4, "--connector-lr", 1e-3)
CAPTIONS = ("--batch-size", CAPTION_BATCH, "--lr", 1e-3)
SHORT = "\nAnswer the question using a single word or phrase."
MARK = "<image>\n"


def main(name, doc, flags, run, draw):
    """Flags, the run in FOLDER or a folder of its own, then result, plot and page. `flags`: name -> (default, help), numbers."""
    parser = argparse.ArgumentParser(prog=f"scripts/study {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, metavar="FOLDER", help="keeps what was trained")
    for flag, (default, text) in flags.items():
        many = isinstance(default, (list, tuple))
        parser.add_argument("--" + flag.replace("_", "-"), type=type(default[0] if many else default), nargs="+" if many else None,
                            default=default, help=f"{text} (default: {default})")
    args = parser.parse_args()
    need(LLAVA, FLICKR, *PARTS[1::2])
    settings = {flag: getattr(args, flag) for flag in flags}
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.folder or pathlib.Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        spent, start = work / "seconds.txt", time.time()
        before = float(spent.read_text()) if spent.exists() else 0.0
        try:
            figures = run(args, work)
        finally:  # a study that goes on later has cost both
            seconds = before + time.time() - start
            spent.write_text(str(seconds))
    changed = [word for flag, value in settings.items() if value != flags[flag][0]
               for word in ("--" + flag.replace("_", "-"), *map(str, value if isinstance(value, list) else [value]))]
    result = write_result(name, {"settings": settings, "precision": PRECISION, "processor": processor(), **figures}, seconds,
                          "study", shlex.join(["scripts/study", name, *changed]))
    draw(result, RESULTS / f"study_{name}")
    import page
    page.fill()


def processor():
    lines = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("processor", "model name"))]
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{sum(line.startswith('processor') for line in lines)} x {names[0] if names else 'unknown'}"


# Data: LLaVA's JSON in the study's folder, the same for the same arguments.

def conversation(name, images, pairs):
    """One of LLaVA's rows; `images` is a path, or several."""
    marks = MARK if isinstance(images, str) else "<image>" * len(images) + "\n" if images else ""
    turns = []
    for question, answer in pairs:
        turns += [{"from": "human", "value": ("" if turns else marks) + question}, {"from": "gpt", "value": answer}]
    return {"id": name, **({"image": images} if images else {}), "conversations": turns}


def written(path, rows):
    path.write_text(json.dumps(rows))
    return path


def read_rows(path):
    """(id, image, [(question, answer)]) of a file of LLaVA's; questions without mark and instruction."""
    for row in json.loads(path.read_text()):
        turns = [turn["value"].replace(MARK, "").replace(SHORT, "") for turn in row["conversations"]]
        yield row["id"], row["image"], list(zip(turns[::2], turns[1::2]))


def is_yes_no(pair):
    return pair[1].lower() in ("yes", "no")


def easy_vqa(rows, seed=0):
    """Pictures of easy-VQA's training part with all their questions about colour and shape, one that is answered with yes and one with no:
    most of the source's are yes/no, which words alone half answer."""
    rng, out = random.Random(seed), []
    source = list(read_rows(LLAVA / "easyvqa_train.json"))
    for name, image, pairs in rng.sample(source, min(rows, len(source))):
        kept = [pair for pair in pairs if not is_yes_no(pair)]
        for answer in ("yes", "no"):
            same = [pair for pair in pairs if pair[1] == answer]
            kept += rng.sample(same, min(1, len(same)))
        rng.shuffle(kept)
        out.append(conversation(name, image, kept))
    return out


def easy_vqa_questions(path, count):
    """Writes a fixed choice of easy-VQA's validation questions, each alone: 3 of 5 about colour and shape, the others as many yes as no."""
    rng, kinds = random.Random(0), {"yes": [], "no": [], "": []}
    for name, image, pairs in read_rows(LLAVA / "easyvqa_val.json"):
        for pair in pairs:
            kinds[pair[1] if is_yes_no(pair) else ""].append((name, image, pair))
    each = count // 5
    chosen = rng.sample(kinds["yes"], each) + rng.sample(kinds["no"], each) + rng.sample(kinds[""], count - 2 * each)
    rng.shuffle(chosen)
    return written(path, [conversation(f"{name}-{i}", image, [pair]) for i, (name, image, pair) in enumerate(chosen)])


def mixed_talks(path, rows):
    """Writes half easy-VQA, half captions of and yes/no questions about Flickr8k's photos: file, folder and count."""
    rng, source = random.Random(0), list(read_rows(LLAVA / "flickr8k_train.json"))
    half = [conversation(*row) for row in rng.sample(source, min(rows // 2, len(source)))]
    out = easy_vqa(rows - len(half)) + half
    rng.shuffle(out)
    return written(path, out), LLAVA, len(out)


def photo_captions(work, rows, noise=0.0):
    """Writes photos of Flickr8k's shards and one caption of each, without those of LLaVA's validation rows: file, folder and count. The captions
    of a share `noise` of the photos change places among each other; those of a smaller share are among those of a larger one."""
    without = {pathlib.Path(image).stem for _, image, _ in read_rows(LLAVA / "flickr8k_val.json")}
    rng, folder = random.Random(0), work / "photos"
    folder.mkdir(exist_ok=True)
    source = [sample for shard in sorted(FLICKR.glob("train-*.tar")) for sample in samples(shard) if sample[0] not in without]
    chosen = rng.sample(source, min(rows, len(source)))
    captions = [rng.choice(texts) for _, _, texts in chosen]
    for key, photo, _ in chosen:
        (folder / f"{key}.jpg").write_bytes(photo)
    captions = exchanged(captions, noise, random.Random(1))
    rows = [conversation(key, f"{key}.jpg", [("Describe the image briefly.", caption)]) for (key, _, _), caption in zip(chosen, captions)]
    return written(work / f"captions-{len(chosen)}-{noise:g}.json", rows), folder, len(rows)


def exchanged(items, share, rng):
    """`items`, of which a share has changed places in one ring, so that none of these stands where it was."""
    order = rng.sample(range(len(items)), len(items))[:round(share * len(items))]
    out = list(items)
    for i, j in zip(order, order[1:] + order[:1]):
        out[i] = items[j]
    return out


def photo_questions(work, count):
    """Writes a fixed choice of validation photos with their five captions: file and folder."""
    chosen, folder = random.Random(0).sample(list(validation()), count), work / "validation"
    folder.mkdir(exist_ok=True)
    for key, photo, _ in chosen:
        (folder / f"{key}.jpg").write_bytes(photo)
    return caption_questions(work / f"photos-{count}.json", [(key, captions) for key, _, captions in chosen]), folder


# Runs and their figures.

def length(steps, rows, batch):
    """Flags of `steps` steps over so many rows."""
    return ("--total-steps", steps, "--epochs", math.ceil(steps / max(rows // batch, 1)))


def caption_stage(out, steps, data, image_size, seed):
    """Stage 1 on what photo_captions() wrote."""
    path, folder, count = data
    train(1, out, *PARTS, "--image-size", image_size, "--data", path, "--images", folder, *CAPTIONS, *length(steps, count, CAPTION_BATCH),
          "--seed", seed)
    return trained(out)


def talk_stage(out, start, steps, data, seed):
    """Stage 2 on conversations, from a run of stage 1 or from parts (flags)."""
    path, folder, count = data
    train(2, out, *start, "--data", path, "--images", folder, *TALK, *length(steps, count, BATCH), "--seed", seed)
    return trained(out)


def asked(out, name, model, data, images, task, *more, peak=False):
    """llava_eval's last line, kept in `out` for the same arguments."""
    path, words = out / f"eval-{name}.json", [str(word) for word in (model, data, images, task, *more, peak)]
    if not path.exists() or json.loads(path.read_text())["arguments"] != words:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"arguments": words, "result": evaluate(model, data, images, task, *more, peak=peak)}))
    return json.loads(path.read_text())["result"]


def vqa(out, questions, images=LLAVA, priors=None):
    """Greedy answers to questions alone, with their own images and with others'."""
    how = ("--max-new-tokens", 4)
    seen = asked(out, "vqa", out, questions, images, "vqa", *how, *(("--priors", priors) if priors else ()))
    other = asked(out, "vqa-shuffled", out, questions, images, "vqa", *how, "--shuffle-images")
    kind = lambda result: {"all": result["accuracy"], "not_yes_no": without_yes_no(result)}
    counts = {"all": seen["samples"], "not_yes_no": sum(k["samples"] for name, k in seen["by_kind"].items() if name != "yes/no")}
    return {"accuracy": kind(seen), "shuffled_images": kind(other), "questions": counts,
            **({"answer_by_question": kind(seen["answer_by_question"])} if priors else {})}


def captioned(out, name, data, images, *more):
    """CIDEr-D of greedy captions, of their own photos and of others'."""
    how = ("--max-new-tokens", 24, *more)
    return {"cider": asked(out, name, out, data, images, "caption", *how)["cider"],
            "shuffled_images": asked(out, f"{name}-shuffled", out, data, images, "caption", *how, "--shuffle-images")["cider"]}


def steps_of(out):
    """A run's steps, each with its seconds."""
    lines, before = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()], 0
    for line in lines:
        line["seconds"] = (line["samples"] - before) / line["samples_per_second"]
        before = line["samples"]
    return lines


def trained(out, skip=2):
    """Seconds, rate (without the first steps, which warm up) and what was learned from."""
    lines = steps_of(out)
    timed = lines[min(skip, len(lines) - 1):]
    return {"steps": len(lines), "seconds": round(sum(line["seconds"] for line in lines), 1),
            "tokens_per_second": round(sum(line["tokens"] for line in timed) / sum(line["seconds"] for line in timed), 1),
            "supervised_tokens": int(sum(line["answer_tokens"] for line in lines)),
            "loss": round(statistics.fmean(line["loss"] for line in lines[-max(1, len(lines) // 8):]), 4)}


def same_supervision(runs):
    """Exits unless all runs learned from as many tokens: else their comparison says nothing."""
    counts = {name: run["supervised_tokens"] for name, run in runs.items()}
    if len(set(counts.values())) > 1:
        sys.exit(f"the runs learned from unequal numbers of tokens: {counts}")


def smoothed(lines, points=40):
    """(step, mean loss) of about so many equal runs of steps."""
    size = max(1, len(lines) // points)
    runs = [lines[i:i + size] for i in range(0, len(lines) - size + 1, size)]
    return [[run[-1]["step"], round(statistics.fmean(line["loss"] for line in run), 4)] for run in runs]


def connector_parameters(out):
    """Of a saved model: those beside encoder and language model."""
    with (out / "model/model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


# Tables of the guide.

def error_of(shares, count):
    """The standard error of a share of `count` questions, or its deviation over seeds where there are several."""
    if len(shares) > 1:
        return statistics.stdev(shares)
    return math.sqrt(shares[0] * (1 - shares[0]) / count)


def percent(shares, count):
    return f"{100 * statistics.fmean(shares):.1f} ± {100 * error_of(shares, count):.1f}"


def against_control(shares, control, count):
    """Accuracy, with a dagger where two standard errors of its questions do not part it from the control."""
    own, other = statistics.fmean(shares), statistics.fmean(control)
    error = math.sqrt((own * (1 - own) + other * (1 - other)) / (count * len(shares)))
    return percent(shares, count) + (" †" if own - other <= 2 * error else "")


def mean(values):
    return statistics.fmean(values)


def score_names(run):
    """The columns of scores()."""
    counts = run["questions"]
    return [f"easy-VQA, {counts['all']} questions, %", f"{counts['not_yes_no']} not yes/no, %", "the same, shuffled images, %", "CIDEr-D",
            "shuffled images"]


def scores(runs):
    """Of runs with the figures of vqa() and captioned()."""
    counts, of = runs[0]["questions"], lambda name, kind: [run[name][kind] for run in runs]
    return [*(against_control(of("accuracy", kind), of("shuffled_images", kind), counts[kind]) for kind in ("all", "not_yes_no")),
            percent(of("shuffled_images", "not_yes_no"), counts["not_yes_no"]),
            *(f"{mean(of('captions', name)):.3f}" for name in ("cider", "shuffled_images"))]


def table(header, rows):
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def notes(result, accuracies=False):
    """Below a table of accuracies: what the signs mean, and of what run they are."""
    seeds = result["settings"].get("seeds", [0])
    out = []
    if accuracies:
        out = [f"± is the deviation over {len(seeds)} seeds." if len(seeds) > 1 else f"± is the standard error of so many questions, of one seed.",
               "† is within two standard errors of the control: nothing shows that the pictures were looked at."]
    return [" ".join([*out, f"`{result['command']}`: {result['seconds'] / 60:.0f} minutes, {result['precision']}, {result['processor']}, "
                            f"commit {result['commit']}."])]
