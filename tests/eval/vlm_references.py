"""What answers, captions and boxes are scored by, written out: vlm_references.py vqa|captions|grounding OUT_FOLDER [SHARDS ...]."""
import collections
import functools
import json
import math
import os
import pathlib
import random
import re
import sys
import tarfile

WHOLE = """ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd
how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at
shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's
something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas
wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've""".split()
CONTRACTIONS = {word[:m.start()] + word[m.end():]: word for word in WHOLE for m in re.finditer("'", word)} | {"somebody'd": "somebodyd"}
NUMBERS = dict(zip("none zero one two three four five six seven eight nine ten".split(), map(str, [0, *range(11)])))


def vqa_form(answer):
    """vqaEval.py: processPunctuation, then processDigitArticle."""
    text = given = answer.replace("\n", " ").replace("\t", " ").strip()
    for mark in ";/[]\"{}()=+\\_-><@`,?!":
        beside_space = mark + " " in given or " " + mark in given
        text = text.replace(mark, "" if beside_space or re.search(r"[0-9],[0-9]", given) else " ")
    text = re.sub(r"\.(?![0-9])", "", text, count=int(re.UNICODE))
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def vqa_accuracy(prediction, answers):
    flat = lambda text: text.replace("\n", " ").replace("\t", " ").strip()
    prediction, answers = flat(prediction), [flat(answer) for answer in answers]
    if len(set(answers)) > 1:
        prediction, answers = vqa_form(prediction), [vqa_form(answer) for answer in answers]
    scores = []
    for i in range(len(answers)):
        others = answers[:i] + answers[i + 1:]
        scores.append(min(1, others.count(prediction) / 3))
    return sum(scores) / len(scores)


def pope(predictions, labels):
    yes = []
    for text in predictions:
        words = text.split(".")[0].replace(",", "").split(" ")
        yes.append(not ("No" in words or "not" in words or "no" in words))
    pairs = collections.Counter(zip(yes, labels))
    tp, fp, tn, fn = pairs[True, True], pairs[True, False], pairs[False, False], pairs[False, True]
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return {"accuracy": (tp + tn) / len(labels), "precision": precision, "recall": recall,
            "f1": 2 * precision * recall / (precision + recall), "yes_share": sum(yes) / len(yes), "samples": len(labels)}


def priors(train, questions):
    form = lambda text: text.lower().strip().rstrip(".").strip()
    counts, by_question = collections.Counter(), collections.defaultdict(collections.Counter)
    for item in train:
        for answer in item["answers"]:
            counts[form(answer)] += 1
            by_question[form(item["question"]).rstrip("?").strip()][form(answer)] += 1
    majority = counts.most_common(1)[0][0]
    own = [by_question.get(form(question).rstrip("?").strip()) for question in questions]
    return {"majority": majority, "answers": [c.most_common(1)[0][0] if c else majority for c in own]}


def vqa(out, rng):
    words = ["a", "The", "an", "none", "Two", "ten", "dont", "wouldnt've", "somebody'd", "let's", "10", "1,000", "3.5", "red", "Blue", "É", "ΣΑΣ",
             "t-shirt", "yes", "No", "yall'd've", "b/w", "(left)", "\"quoted\"", "x.y", "..", "$5", "it's", "im", "what?", "no!", "a;b", "@home"]
    pieces = words + [" ", "\t", "\n", ",", ".", " -", "? ", "_"]
    text = lambda n: "".join(rng.choice(pieces) + rng.choice(["", " ", " "]) for _ in range(rng.randint(0, n)))
    forms = [text(6) for _ in range(2000)] + [". . " * 20 + "end." + "." * 40] + list(CONTRACTIONS)
    items = []
    for _ in range(300):
        pool = [text(2) for _ in range(rng.randint(1, 3))]
        answers = [rng.choice(pool) for _ in range(10)]
        prediction = rng.choice(pool + [text(2)])
        items.append({"question": rng.choice(["What?", "what", "What is it ?", "How many?", "Is it?"]), "answers": answers, "prediction": prediction,
                      "accuracy": vqa_accuracy(prediction, answers)})
    unseen = [item["question"] for item in items[:50]] + ["never asked?"]
    says = ["Yes", "yes, it is.", "No", "no.", "There is no dog", "I do not know", "NO", "nothing", "", "No, there is. Yes", "yes. no", "It,no,is", "not"]
    predictions = [rng.choice(says) for _ in range(400)]
    labels = [rng.random() < 0.6 for _ in predictions]
    (out / "vqa.json").write_text(json.dumps({
        "forms": [[form, vqa_form(form)] for form in forms], "items": items,
        "questions": unseen, "priors": priors(items[50:], unseen),
        "pope": {"predictions": predictions, "labels": labels, "expected": pope(predictions, labels)}}))


@functools.cache
def grams(text, n):
    words = text.split()
    return collections.Counter(tuple(words[i:i + n]) for i in range(len(words) - n + 1))


def bleu(captions, references):
    scores, product = [], 1
    own = sum(len(c.split()) for c in captions)
    reference = sum(min((abs(len(r.split()) - len(c.split())), len(r.split())) for r in refs)[1] for c, refs in zip(captions, references))
    for n in range(1, 5):
        match = total = 0
        for caption, refs in zip(captions, references):
            counts = grams(caption, n)
            total += max(0, len(caption.split()) - n + 1)
            match += sum(min(count, max(grams(ref, n).get(gram, 0) for ref in refs)) for gram, count in counts.items())
        product *= (match + 1e-15) / (total + 1e-9)
        scores.append(product ** (1 / n))
    ratio = (own + 1e-15) / (reference + 1e-9)
    return [score * (math.exp(1 - 1 / ratio) if ratio < 1 else 1) for score in scores]


def rouge_l(caption, refs):
    def lcs(a, b):
        table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
        return table[-1][-1]
    own = caption.split()
    common = [lcs(own, ref.split()) for ref in refs]
    p = max(c / max(len(own), 1) for c in common)
    r = max(c / max(len(ref.split()), 1) for c, ref in zip(common, refs))
    return (1 + 1.2 ** 2) * p * r / (r + 1.2 ** 2 * p) if p and r else 0.0


def cider_d(captions, references):
    """Vedantam et al., 2015, equations 1 to 3 with the clipping and the Gaussian of CIDEr-D."""
    frequency = collections.Counter(gram for refs in references for gram in {g for ref in refs for n in range(1, 5) for g in grams(ref, n)})
    norm = lambda vector: math.sqrt(sum(v * v for v in vector.values()))

    @functools.cache
    def weigh(text, n):
        return {g: c * (math.log(len(references)) - math.log(max(1, frequency[g]))) for g, c in grams(text, n).items()}
    scores = []
    for caption, refs in zip(captions, references):
        total = 0
        for n in range(1, 5):
            for ref in refs:
                a, b = weigh(caption, n), weigh(ref, n)
                value = sum(min(v, b[g]) * b[g] for g, v in a.items() if g in b)
                if norm(a) and norm(b):
                    value /= norm(a) * norm(b)
                delta = sum(grams(caption, 2).values()) - sum(grams(ref, 2).values())
                total += value * math.exp(-delta ** 2 / (2 * 6 ** 2)) / len(refs) / 4
        scores.append(10 * total)
    return scores


def words_of(caption):
    """The Treebank's rules that eval/captions.hpp states, by one regular expression."""
    text = caption.lower()
    for mark, plain in {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": " - ", "\u2014": " - ", "\u2026": " "}.items():
        text = text.replace(mark, plain)
    alnum = r"[a-z0-9\u0080-\U0010ffff]"
    inner = rf"(?:(?<={alnum})[.\-'/_](?={alnum})|(?<=[0-9])[,:](?=[0-9]))"
    words = []
    for chunk in text.split():
        if chunk in ("n't", "'s", "'m", "'d", "'ll", "'re", "'ve"):
            words.append(chunk)
            continue
        for word in re.findall(rf"{alnum}(?:{alnum}|{inner})*|[^\s'\"`.,:;?!()\[\]{{}}\-]", chunk):
            tail = []
            while m := re.fullmatch(r"(.+?)(n't|'(?:s|m|d|ll|re|ve))", word):
                word, tail = m[1], [m[2], *tail]
            halves = {"cannot": "can not", "gimme": "gim me", "gonna": "gon na", "gotta": "got ta", "lemme": "lem me", "wanna": "wan na"}
            words += halves.get(word, word).split() + tail
    return words


def real_captions(shards):
    lists = []
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    lists.append(json.load(tar.extractfile(member))["captions"])
    return lists


def captions(out, rng, shards):
    cases = []

    def case(texts, references, tokenize):
        own = [" ".join(words_of(t)) if tokenize else t for t in texts]
        refs = [[" ".join(words_of(r)) if tokenize else r for r in row] for row in references]
        cases.append({"captions": texts, "references": references, "tokenize": tokenize, "bleu": bleu(own, refs),
                      "rouge_l": [rouge_l(c, r) for c, r in zip(own, refs)], "cider": cider_d(own, refs)})
    for _ in range(6):
        vocabulary = [f"w{i}" for i in range(rng.randint(3, 30))]
        sentence = lambda low=0: " ".join(rng.choice(vocabulary) for _ in range(rng.randint(low, 14)))
        count = rng.randint(1, 40)
        case([sentence() for _ in range(count)], [[sentence(1) for _ in range(rng.randint(1, 5))] for _ in range(count)], False)
    real = real_captions(shards)
    if real:
        case([row[0] for row in real], [row[1:] for row in real], True)
        case([rng.choice(real)[0] for _ in real], real, True)
        case([row[1] for row in real], real, True)
    pieces = ["It's", "don't", "the", "DOGS'", "T-shirt", "(left)", "3.5", "1,000", "10:30", "u.s.", "and/or", "$5", "cats & dogs", "cannot", "o'clock",
              "wouldn't've", "\u201cHi\u201d", "caf\u00e9", "...", "--", "-", "a\u2014b", "snow_board", "50%", "#1", "n't", "'s", "x'", "gonna", "Woman,", "end."]
    texts = [rng.choice(["", " "]).join(rng.choice(pieces) for _ in range(rng.randint(0, 6))) for _ in range(500)] + pieces + sum(real, [])
    (out / "captions.json").write_text(json.dumps({"cases": cases, "words": [[t, words_of(t)] for t in texts]}))


def grounding(out, rng):
    """IoU and its greedy matching by brute force."""
    def iou(a, b):
        w = min(a[2], b[2]) - max(a[0], b[0])
        h = min(a[3], b[3]) - max(a[1], b[1])
        both = max(w, 0) * max(h, 0)
        area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
        return both / (area(a) + area(b) - both) if area(a) + area(b) - both > 0 else 0.0

    def box():
        x, y = rng.randint(0, 60), rng.randint(0, 60)
        return [x, y, x + rng.randint(0, 40), y + rng.randint(0, 40)]
    samples, found, predicted, true, ious = [], 0, 0, 0, []
    for _ in range(300):
        truths = [box() for _ in range(rng.randint(1, 4))]
        boxes = [[v + rng.randint(-4, 4) for v in rng.choice(truths)] for _ in range(rng.randint(0, 4))]
        boxes = [[min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])] for b in boxes]
        pairs = sorted(((-iou(b, t), i, j) for i, b in enumerate(boxes) for j, t in enumerate(truths)))
        used_boxes, best = set(), {}
        for value, i, j in pairs:
            if value < 0 and i not in used_boxes and j not in best:
                used_boxes.add(i)
                best[j] = -value
        found += sum(v >= 0.5 for v in best.values())
        ious += [best.get(j, 0.0) for j in range(len(truths))]
        predicted, true = predicted + len(boxes), true + len(truths)
        samples.append({"boxes": boxes, "truths": truths})
    pair = [[a := box(), b := box(), iou(a, b)] for _ in range(500)]
    (out / "grounding.json").write_text(json.dumps({"samples": samples, "pairs": pair, "accuracy": found / true, "precision": found / predicted,
                                                    "mean_iou": sum(ious) / len(ious)}))


if __name__ == "__main__":
    seed = int(os.environ.get("WEFT_PARITY_SEED", 0)) or random.SystemRandom().randrange(1, 2**31)
    print(f"tests/eval/vlm_references.py {sys.argv[1]}: WEFT_PARITY_SEED={seed}")
    arguments = [pathlib.Path(sys.argv[2]), random.Random(seed)]
    if sys.argv[1] == "captions":
        arguments.append(sys.argv[3:])
    {"vqa": vqa, "captions": captions, "grounding": grounding}[sys.argv[1]](*arguments)
