"""Which connector between image encoder and language model? Five of them, from scratch, with the same pictures, questions, steps and order:
accuracy on easy-VQA, speed of training and of prefill."""
import study
from plot import bar_plot

FLAGS = {"steps": (56, "training steps of 4 pictures"), "seeds": ([0], "a run of each connector for every seed"),
         "questions": (160, "validation questions"), "image_size": (84, "pixels a side, a multiple of 28")}
CONNECTORS = ("linear", "mlp2x_gelu", "average_pool", "pixel_shuffle", "resampler")


def run(args, work):
    rows = study.easy_vqa(args.steps * study.BATCH)
    data = study.written(work / f"easyvqa-{len(rows)}.json", rows)
    questions = study.easy_vqa_questions(work / f"questions-{args.questions}.json", args.questions)
    few = study.easy_vqa_questions(work / "questions-30.json", 30)
    quarter = (args.image_size // 28) ** 2  # as many tokens as 2 x 2 neighbours that become one
    out = {}
    for seed in args.seeds:
        runs = {}
        for name in CONNECTORS:
            folder = work / f"{name}-{seed}"
            start = (*study.PARTS, "--image-size", args.image_size, "--connector", name, "--num-queries", quarter)
            done = study.talk_stage(folder, start, args.steps, (data, study.LLAVA, len(rows)), seed)
            prefill = study.asked(folder, "prefill", folder, few, study.LLAVA, "vqa", "--max-new-tokens", 1, "--batch-size", 1, "--feature-memory", 0)
            runs[name] = {**done, **study.vqa(folder, questions, priors=data),
                          "parameters": study.connector_parameters(folder),
                          "visual_tokens": prefill["tokens"]["visual"] // prefill["samples"],
                          "prefill_ms": round(1000 * prefill["seconds"]["answers"] / prefill["samples"], 1),
                          "prefill_tokens_per_second": round(prefill["tokens"]["prompts"] / prefill["seconds"]["answers"], 1)}
        study.same_supervision(runs)
        for name in CONNECTORS:
            out.setdefault(name, []).append(runs[name])
    return {"pictures": len(rows), "connectors": out}


def shares(runs, what, kind):
    return [run[what][kind] for run in runs]


def lines(result):
    counts, priors = (result["connectors"]["linear"][0][name] for name in ("questions", "answer_by_question"))
    mean = lambda runs, name: study.mean(run[name] for run in runs)
    rows = []
    for name, runs in result["connectors"].items():
        rows.append([f"`{name}`", f"{runs[0]['parameters'] / 1e6:.2f} M", runs[0]["visual_tokens"],
                     *(study.against_control(shares(runs, "accuracy", kind), shares(runs, "shuffled_images", kind), counts[kind])
                       for kind in ("all", "not_yes_no")),
                     study.percent(shares(runs, "shuffled_images", "not_yes_no"), counts["not_yes_no"]),
                     f"{mean(runs, 'tokens_per_second'):.0f}", f"{mean(runs, 'seconds'):.0f} s", f"{mean(runs, 'prefill_ms'):.0f} ms"])
    prior = f"{100 * priors['all']:.1f}", f"{100 * priors['not_yes_no']:.1f}"
    rows.append(["the question's most frequent answer", "", "", *prior, "", "", "", ""])
    head = ["connector", "parameters", "visual tokens", f"all {counts['all']} questions, %", f"{counts['not_yes_no']} not yes/no, %",
            "the same, shuffled images, %", "training tokens/s", "training", "prefill of a question"]
    return [*study.table(head, rows), "", *study.notes(result, accuracies=True)]


def draw(result, path):
    count = result["connectors"]["linear"][0]["questions"]["not_yes_no"]
    bar = lambda values: (100 * study.mean(values), 100 * study.error_of(values, count))
    bar_plot(path.with_suffix(".svg"), {name: {label: bar(shares(runs, what, "not_yes_no")) for label, what in
                                               (("own images", "accuracy"), ("shuffled images", "shuffled_images"))}
                                        for name, runs in result["connectors"].items()}, "questions that are not yes/no, %")


if __name__ == "__main__":
    study.main("projectors", __doc__, FLAGS, run, draw)
