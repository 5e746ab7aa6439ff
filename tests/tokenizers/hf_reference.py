"""Encodings by Hugging Face's `tokenizers`, in the form of the golden files.

  hf_reference.py encode TOKENIZER.json SEED COUNT OUT.jsonl     random Unicode texts
  hf_reference.py sweep bert|pattern|digits|word TOKENIZER.json OUT.jsonl   every code point; writes the tokenizer too
  hf_reference.py gpt2 FOLDER COUNT OUT.jsonl                    the same by transformers from vocab.json and merges.txt
  hf_reference.py train TEXTS.json SIZE OUT.json                 a byte-level BPE
"""
import json
import random
import sys

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

RANGES = [(0x20, 0x7E)] * 6 + [
    (0, 0x2FF), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x7FF), (0x900, 0xDFF), (0xE00, 0x11FF), (0x1E00, 0x20FF),
    (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF), (0xD7B0, 0xD7FF), (0xF900, 0xFFFF),
    (0x10000, 0x11FFF), (0x1D400, 0x1D7FF), (0x1F300, 0x1F6FF), (0x20000, 0x20100), (0xE0000, 0xE01FF), (0, 0x10FFFF)]
WORDS = """A dog runs across the grass while two children in red jackets watch . It's they'll don't WE'RE I'd naïve Übung
 'tis rock'n'roll 2023 3.14 ١٢٣ photo-realistic [MASK] [SEP] [CLS] <|endoftext|> <|im_start|> <|en|> <s> </s> <pad>""".split()
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u2028", ""]


def random_text(rng):
    text = ""
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.4:
            text += rng.choice(WORDS) + rng.choice([" ", ""])
        elif kind < 0.6:
            text += rng.choice(SPACES)
        else:
            low, high = rng.choice(RANGES)
            codes = [rng.randint(low, high) for _ in range(rng.randint(1, 4))]
            text += "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)
    return text


def write(tokenizer, texts, out):
    tokenizer.no_padding()
    tokenizer.no_truncation()
    special = tokenizer.post_processor is not None
    with open(out, "w") as file:
        for text in texts:
            plain = tokenizer.encode(text, add_special_tokens=False)
            file.write(json.dumps({
                "text": text, "ids": tokenizer.encode(text).ids if special else plain.ids, "ids_no_special": plain.ids,
                "tokens_no_special": plain.tokens, "offsets_no_special": plain.offsets,
                "decoded": tokenizer.decode(plain.ids, skip_special_tokens=False)}) + "\n")


def byte_level(prefix, regex):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": False, "use_regex": regex}


def sweep_tokenizer(kind):
    """The ids of these tokenizers show every byte of the normalized text and every border of a piece."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: i for i, symbol in enumerate(symbols)}
    merges, added, normalizer = [], [], None
    if kind == "bert":
        # Each piece begins with a space of its own.
        normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                      "strip_accents": True, "lowercase": True}
        pre = {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, byte_level(True, False)]}
    elif kind == "digits":
        pre = {"type": "Sequence",
               "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level(True, False)]}
    elif kind == "word":
        added = [{"id": 256, "content": "dog", "single_word": True, "lstrip": True, "rstrip": True, "normalized": False,
                  "special": False}]
        pre = byte_level(False, False)
    else:
        # 'a', '1' or '.' merges with what follows in the same piece.
        pre = byte_level(False, True)
        for left in "a1.":
            for right in symbols:
                vocab.setdefault(left + right, len(vocab))
                merges.append([left, right])
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": None, "decoder": byte_level(False, True),
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                      "merges": merges}}


def sweep_texts(kind):
    form = {"bert": "{0} a{0}b ", "digits": "{0} a{0}b ", "word": "dog{0} {0}dog {0} dog ", "pattern": "a{0} 1{0} .{0} "}[kind]
    # Planes 4 to 13 are empty and 15 and 16 private: a sample of them will do.
    codes = [c for c in range(0x110000)
             if not 0xD800 <= c < 0xE000 and (c < 0x40000 or 0xE0000 <= c < 0xE1000 or c % 61 == 0)]
    for begin in range(0, len(codes), 16):
        yield "".join(form.format(chr(c)) for c in codes[begin:begin + 16])


def main(mode, *args):
    if mode == "encode":
        file, seed, count, out = args
        rng = random.Random(int(seed))
        write(Tokenizer.from_file(file), (random_text(rng) for _ in range(int(count))), out)
    elif mode == "sweep":
        kind, file, out = args
        with open(file, "w") as output:
            json.dump(sweep_tokenizer(kind), output)
        write(Tokenizer.from_file(file), sweep_texts(kind), out)
    elif mode == "train":
        texts, size, out = args
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=int(size), min_frequency=2, special_tokens=["<pad>", "<s>", "</s>"],
                                      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
        with open(texts) as file:
            tokenizer.train_from_iterator(json.load(file), trainer)
        tokenizer.save(out)
    elif mode == "gpt2":
        from transformers import GPT2Tokenizer  # takes seconds
        folder, count, out = args
        rng = random.Random(3)
        write(GPT2Tokenizer.from_pretrained(folder).backend_tokenizer, [random_text(rng) for _ in range(int(count))], out)
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
