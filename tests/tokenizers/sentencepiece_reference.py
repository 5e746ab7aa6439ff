"""Encodings by sentencepiece, or by transformers of a folder with a SentencePiece model; exits 77 where sentencepiece is missing.

  sentencepiece_reference.py MODEL SEED COUNT OUT.jsonl
  sentencepiece_reference.py FOLDER SEED COUNT OUT.jsonl
"""
import json
import os
import random
import sys

from random_texts import random_text

try:
    import sentencepiece
except ModuleNotFoundError:
    sys.exit(77)

model, seed, count, out = sys.argv[1:]
rng = random.Random(int(seed))


def by_sentencepiece(text, processor=[]):
    if not processor:
        processor.append(sentencepiece.SentencePieceProcessor(model_file=model))
    ids = processor[0].encode(text)
    some = [rng.randrange(processor[0].vocab_size()) for _ in range(rng.randint(0, 8))]
    return {"text": text, "ids": ids, "decoded": processor[0].decode(ids), "some": some,
            "some_decoded": processor[0].decode(some)}


def by_transformers(text, tokenizer=[]):
    if not tokenizer:
        import transformers
        with open(model + "/tokenizer_config.json") as config:
            kind = getattr(transformers, json.load(config)["tokenizer_class"])
        tokenizer.append(kind.from_pretrained(model))
    return {"text": text, "ids": tokenizer[0](text).input_ids}


encode = by_transformers if os.path.isdir(model) else by_sentencepiece
with open(out, "w") as file:
    for _ in range(int(count)):
        file.write(json.dumps(encode(random_text(rng))) + "\n")
