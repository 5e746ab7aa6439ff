"""How clean must the captions of stage 1 be? It sees photos of which 0 to 100 % have another photo's caption, then comes the same stage 2:
easy-VQA, and captions of unseen photos after either stage."""
import study
from plot import line_plot

FLAGS = {"noise": ([0.0, 0.25, 0.5, 1.0], "shares of captions that belong to another photo"), "stage1_steps": (24, "steps of 16 captions"),
         "stage2_steps": (36, "steps of 4 conversations"), "seeds": ([0], "runs of each share"), "questions": (80, "validation questions of easy-VQA"),
         "photos": (32, "validation photos"), "image_size": (98, "pixels a side")}
# Stage 1 writes a caption and a line's end behind the picture.
PLAIN = ("--conversation", "plain", "--stop", "\n")


def run(args, work):
    talks = study.mixed_talks(work / f"talks-{args.stage2_steps}.json", args.stage2_steps * study.BATCH)
    questions = study.easy_vqa_questions(work / f"questions-{args.questions}.json", args.questions)
    asked, asked_photos = study.photo_questions(work, args.photos)
    out = []
    for noise in args.noise:
        captions = study.photo_captions(work, args.stage1_steps * study.CAPTION_BATCH, noise)
        runs = []
        for seed in args.seeds:
            start, place = work / f"stage1-{noise:g}-{seed}", work / f"stage2-{noise:g}-{seed}"
            first = study.caption_stage(start, args.stage1_steps, captions, args.image_size, seed)
            second = study.talk_stage(place, ("--model", start), args.stage2_steps, talks, seed)
            runs.append({"stage1": {**first, "captions": study.captioned(start, "captions", asked, asked_photos, *PLAIN)}, "stage2": second,
                         **study.vqa(place, questions),
                         "captions": study.captioned(place, "captions", asked, asked_photos)})
        out.append({"noise": noise, "runs": runs})
    for stage in ("stage1", "stage2"):
        study.same_supervision({f"{stage}, {one['noise']:.0%}, run {i}": run[stage] for one in out for i, run in enumerate(one["runs"])})
    return {"shares": out}


def lines(result):
    rows = []
    for one in result["shares"]:
        runs = one["runs"]
        first = [run["stage1"]["captions"] for run in runs]
        rows.append([f"{one['noise']:.0%}", f"{study.mean(run['stage1']['loss'] for run in runs):.3f}",
                     *(f"{study.mean(run[name] for run in first):.3f}" for name in ("cider", "shuffled_images")), *study.scores(runs)])
    head = ["captions of another photo", "loss of stage 1", "CIDEr-D after stage 1", "shuffled images",
            *study.score_names(result["shares"][0]["runs"][0])]
    return [*study.table(head, rows), "", *study.notes(result, accuracies=True)]


def draw(result, path):
    after = {"after stage 1": lambda run: run["stage1"]["captions"], "after stage 2": lambda run: run["captions"]}
    curves = {f"{stage}, {label}": [(100 * one["noise"], study.mean(of(run)[name] for run in one["runs"])) for one in result["shares"]]
              for stage, of in after.items() for label, name in (("own images", "cider"), ("shuffled images", "shuffled_images"))}
    line_plot(path.with_suffix(".svg"), curves, "captions of another photo in stage 1, %", "CIDEr-D", zero=True, marks=True)


if __name__ == "__main__":
    study.main("caption_noise", __doc__, FLAGS, run, draw)
