"""Vision-language models by their programs: what the proof and the studies of them share."""
import json
import shutil
import sys
import tarfile

from common import BIN, FLICKR, MODELS, NATIVE_BF16, SHARED, last_json

LLAVA = SHARED / "data/llava"
PARTS = ("--vision", MODELS / "dinov2-small", "--language", MODELS / "smollm2-135m")
PRECISION = "bf16" if NATIVE_BF16 else "fp32"


def train(stage, out, *arguments, peak=False):
    """Runs a stage. One that has ended is kept, one that was broken off begins anew, so that its seconds are those of the whole; a folder with
    a run of other arguments is refused."""
    command = ["--stage", stage, "--precision", PRECISION, "--workers", 1, "--save-every", 0, "--out", out, *arguments]
    written, done = out / "arguments.json", out / "done.json"
    if written.exists():
        if json.loads(written.read_text()) != [str(word) for word in command]:
            sys.exit(f"{out}: holds a run with other arguments; remove it, or name another folder")
        if not done.exists():
            shutil.rmtree(out)
    if not done.exists():
        out.mkdir(parents=True, exist_ok=True)
        written.write_text(json.dumps([str(word) for word in command]))
        result = last_json([BIN / "llava_train", *command], peak=peak)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
        done.write_text(json.dumps(result))
    return json.loads(done.read_text())


def evaluate(model, data, images, task, *more, peak=False):
    return last_json([BIN / "llava_eval", "--model", model, "--data", data, "--images", images, "--task", task, "--precision", PRECISION, *more],
                     peak=peak)


def validation():
    """(key, bytes of the photo, captions) of each validation sample of Flickr8k."""
    yield from samples(FLICKR / "val-000000.tar")


def samples(shard):
    """(key, bytes of the photo, captions) of each sample, by key."""
    with tarfile.open(shard) as tar:
        members = {m.name: m for m in tar.getmembers()}
        for name in sorted(n for n in members if n.endswith(".json")):
            key = name[:-5]
            yield key, tar.extractfile(members[f"{key}.jpg"]).read(), json.load(tar.extractfile(members[name]))["captions"]


def caption_questions(path, rows):
    """Writes a question for the caption of each (key, captions), whose photo is <key>.jpg."""
    path.write_text(json.dumps([{"id": key, "image": f"{key}.jpg", "references": captions, "conversations": [
        {"from": "human", "value": "<image>\nDescribe the image concisely."}, {"from": "gpt", "value": captions[0]}]} for key, captions in rows]))
    return path


def without_yes_no(result):
    """The accuracy of a vqa result over its other kinds of answers."""
    kinds = [k for name, k in result["by_kind"].items() if name != "yes/no"]
    count = sum(k["samples"] for k in kinds)
    return sum(k["accuracy"] * k["samples"] for k in kinds) / max(count, 1)
