"""What is stage 1 for? The connector first alone on captions and then all on conversations, against the second stage by itself, of equally many
steps: easy-VQA, captions of unseen photos, and the loss on the way."""
import study
from plot import line_plot

FLAGS = {"stage1_steps": (48, "steps of 16 captions"), "stage2_steps": (72, "steps of 4 conversations"), "seeds": ([0], "runs of each arm"),
         "questions": (120, "validation questions of easy-VQA"), "photos": (48, "validation photos"), "image_size": (98, "pixels a side")}
ARMS = {"stage 2 alone": False, "both": True}


def run(args, work):
    captions = study.photo_captions(work, args.stage1_steps * study.CAPTION_BATCH)
    talks = study.mixed_talks(work / f"talks-{args.stage2_steps}.json", args.stage2_steps * study.BATCH)
    questions = study.easy_vqa_questions(work / f"questions-{args.questions}.json", args.questions)
    asked, asked_photos = study.photo_questions(work, args.photos)
    out = {}
    for seed in args.seeds:
        runs = {}
        for arm, both in ARMS.items():
            parts, first = (*study.PARTS, "--image-size", args.image_size), None
            if both:
                start = work / f"stage1-{seed}"
                parts, first = ("--model", start), study.caption_stage(start, args.stage1_steps, captions, args.image_size, seed)
            place = work / f"stage2-{'both' if both else 'alone'}-{seed}"
            runs[arm] = {"stage1": first, "stage2": study.talk_stage(place, parts, args.stage2_steps, talks, seed), **study.vqa(place, questions),
                         "captions": study.captioned(place, "captions", asked, asked_photos), "losses": study.smoothed(study.steps_of(place))}
        study.same_supervision({arm: one["stage2"] for arm, one in runs.items()})
        for arm in ARMS:
            out.setdefault(arm, []).append(runs[arm])
    return {"arms": out}


def lines(result):
    rows = []
    for arm, runs in result["arms"].items():
        first = [run["stage1"]["seconds"] if run["stage1"] else 0 for run in runs]
        rows.append([arm, f"{study.mean(first):.0f} + {study.mean(run['stage2']['seconds'] for run in runs):.0f} s",
                     f"{study.mean(run['stage2']['loss'] for run in runs):.3f}", *study.scores(runs)])
    return [*study.table(["arm", "training", "loss at the end", *study.score_names(result["arms"]["both"][0])], rows), "",
            *study.notes(result, accuracies=True)]


def draw(result, path):
    line_plot(path.with_suffix(".svg"), {arm: [tuple(point) for point in runs[0]["losses"]] for arm, runs in result["arms"].items()},
              "step of stage 2", "loss")


if __name__ == "__main__":
    study.main("stages", __doc__, FLAGS, run, draw)
