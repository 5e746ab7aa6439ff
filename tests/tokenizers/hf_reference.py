"""Encodings by Hugging Face's `tokenizers`, in the form of the golden files.

  hf_reference.py encode TOKENIZER.json SEED COUNT OUT.jsonl     random Unicode texts
  hf_reference.py pieces KIND TOKENIZER.json OUT.jsonl           spans of the pieces: random texts and, of some, every code point
  hf_reference.py form KIND TOKENIZER.json OUT.jsonl             the same of the normalized text
  hf_reference.py sweep bert|pattern|digits|word TOKENIZER.json OUT.jsonl   every code point; writes the tokenizer too
  hf_reference.py family NAME TEXTS.json TOKENIZER.json OUT.jsonl   a tokenizer configured as a published one, trained on texts
  hf_reference.py gpt2 FOLDER COUNT OUT.jsonl                    the same by transformers from vocab.json and merges.txt
  hf_reference.py train TEXTS.json SIZE OUT.json                 a byte-level BPE
"""
import itertools
import json
import random
import sys

from random_texts import random_text
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

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


def all_codes():
    # Planes 4 to 13 are empty and 15 and 16 private: a sample of them will do.
    return [c for c in range(0x110000)
            if not 0xD800 <= c < 0xE000 and (c < 0x33000 or 0xE0000 <= c < 0xE1000 or c % 61 == 0)]


def sweep_texts(kind):
    form = {"bert": "{0} a{0}b ", "digits": "{0} a{0}b ", "word": "dog{0} {0}dog {0} dog ", "pattern": "a{0} 1{0} .{0} "}[kind]
    codes = all_codes()
    for begin in range(0, len(codes), 16):
        yield "".join(form.format(chr(c)) for c in codes[begin:begin + 16])


ANY_CASE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
BLANKS = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s")
PATTERNS = {
    "llama3": ANY_CASE + "|" + WORD + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + BLANKS,
    "qwen2": ANY_CASE + "|" + WORD + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + BLANKS,
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
              r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": CASED % (ANY_CASE + "?", ANY_CASE + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + BLANKS,
    "tekken": CASED % ("", "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + BLANKS,
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "deepseek": r"\p{N}{1,3}",
    "spaces": r"\s+",
    "letters": r"[a-z]+|\p{Lu}",
    "empty": r"x*",
}


def make_pre_tokenizer(kind):
    def split(pattern, behavior="Isolated", invert=False):
        return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}

    def metaspace(scheme, splits):
        return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": splits}
    if kind in PATTERNS:
        return split({"Regex": PATTERNS[kind]})
    name, _, option = kind.partition("-")
    return {
        "string": lambda: split({"String": "a"}, option),
        "regex": lambda: split({"Regex": r"\d|\s+"}, option),
        "inverted": lambda: split({"Regex": r"\p{L}+|\n"}, option, True),
        "removed": lambda: split({"Regex": PATTERNS[option]}, "Removed", True),
        "whitespace": lambda: {"type": "Whitespace"},
        "words": lambda: {"type": "WhitespaceSplit"},
        "punctuation": lambda: {"type": "Punctuation", "behavior": option},
        "digits": lambda: {"type": "Digits", "individual_digits": option == "each"},
        "delimiter": lambda: {"type": "CharDelimiterSplit", "delimiter": "b"},
        "metaspace": lambda: metaspace(option, True),
        "marks": lambda: metaspace(option, False),
        "t5": lambda: {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace("always", True)]},
        "chain": lambda: {"type": "Sequence", "pretokenizers": [
            split({"Regex": PATTERNS["deepseek"]}), split({"String": " "}, "MergedWithPrevious"),
            {"type": "Punctuation", "behavior": "Contiguous"}]},
    }[name]()


def pieces_tokenizer(kind):
    """Each piece is one unknown word, whose span shows where it begins and ends."""
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": make_pre_tokenizer(kind), "post_processor": None, "decoder": None,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 1, "vocab": {"[UNK]": 0}}}


def make_normalizer(kind):
    name, _, option = kind.partition("-")
    return {
        "strip": lambda: {"type": "Strip", "strip_left": option != "right", "strip_right": option != "left"},
        "accents": lambda: {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]},
        "prepend": lambda: {"type": "Prepend", "prepend": "\u2581x"},
        "string": lambda: {"type": "Replace", "pattern": {"String": " a"}, "content": "\u2581\u00e4"},
        "regex": lambda: {"type": "Replace", "pattern": {"Regex": r"\s{2,}|\d"}, "content": option},
        "rules": lambda: {"type": "Precompiled",
                          "precompiled_charsmap": json.load(open(option))["normalizer"]["precompiled_charsmap"]},
    }.get(name, lambda: {"type": kind})()


def form_tokenizer(kind):
    return {**sweep_tokenizer("word"), "added_tokens": [], "normalizer": make_normalizer(kind)}


def write_spans(tokenizer, texts, out):
    with open(out, "w") as file:
        while batch := list(itertools.islice(texts, 256)):
            for text, row in zip(batch, tokenizer.encode_batch(batch, add_special_tokens=False)):
                file.write(json.dumps([text, row.ids, row.offsets], separators=(",", ":")) + "\n")


# The kinds that look at characters each in a way of its own.
SWEPT = {"llama3", "o200k", "whitespace", "words", "punctuation", "spaces", "NFC", "NFD", "NFKC", "NFKD", "Lowercase",
         "StripAccents", "Nmt", "rules"}


def span_texts(kind, mode):
    codes = all_codes() if kind.partition("-")[0] in SWEPT else []
    form = "{0} a{0}b A{0}B 1{0}2 \n{0}\n '{0}" if mode == "pieces" else "{0} a{0}b\u0301{0}\u0327 "
    if kind.startswith("rules"):
        form += "\u00bd{0} \ufb01{0} {0}\u0301 "
    for begin in range(0, len(codes), 16):
        yield "".join(form.format(chr(c)) for c in codes[begin:begin + 16])
    rng = random.Random(7)
    for _ in range(5000):
        yield random_text(rng)


def special(*names):
    return [AddedToken(name, special=True, normalized=False) for name in names]


def byte_level_family(pattern, bos=None, normalizer=None, ignore_merges=False, behavior="isolated", invert=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior, invert), pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    byte_level = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special(*filter(None, [bos, "<|endoftext|>"])),
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)

    def finish():
        tokenizer.post_processor = byte_level if not bos else processors.Sequence([
            byte_level, processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                                      special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer, trainer, finish


def character_family(name):
    """BPE over characters with a fallback to bytes: Gemma, and Llama 2 in both of its forms."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    strip = [decoders.Strip(" ", 1, 0)]
    if name == "gemma":
        tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        strip = []
    elif name == "llama2":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()] + strip)
    trainer = trainers.BpeTrainer(vocab_size=2000, show_progress=False, max_token_length=16,
                                  special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)])

    def finish():
        # The bytes are tokens that no text names.
        document = json.loads(tokenizer.to_str())
        document["added_tokens"] = [token for token in document["added_tokens"] if not token["content"].startswith("<0x")]
        document["post_processor"] = json.loads(processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]).__getstate__())
        return Tokenizer.from_str(json.dumps(document))
    return tokenizer, trainer, finish


def unigram_family(name):
    """XLM-R and mT5, ALBERT: Unigram with normalizers of SentencePiece's kind."""
    tokenizer = Tokenizer(models.Unigram())
    steps = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    if name == "albert":
        steps = [normalizers.Replace("``", '"'), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
                 normalizers.Strip(), *steps[2:]]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=1000, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"],
                                      show_progress=False)

    def finish():
        tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B:1 </s>:1",
                                                                 special_tokens=[("</s>", 1)])
    return tokenizer, trainer, finish


def word_bpe():
    """A BPE of words with marks at both sides of a symbol, as early transformers had it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix="@@"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder()
    trainer = trainers.BpeTrainer(vocab_size=1000, special_tokens=["<unk>"], end_of_word_suffix="</w>",
                                  continuing_subword_prefix="@@", show_progress=False)
    return tokenizer, trainer, lambda: None


FAMILIES = {
    "llama3": lambda: byte_level_family(PATTERNS["llama3"], "<|begin_of_text|>", ignore_merges=True),
    "qwen2": lambda: byte_level_family(PATTERNS["qwen2"], normalizer=normalizers.NFC()),
    "gpt4o": lambda: byte_level_family(PATTERNS["o200k"], behavior="removed", invert=True),
    "gpt4": lambda: byte_level_family(PATTERNS["cl100k"]),
    "mistral": lambda: byte_level_family(PATTERNS["tekken"], "<s>", ignore_merges=True),
    "gemma": lambda: character_family("gemma"),
    "llama2": lambda: character_family("llama2"),
    "llama2_metaspace": lambda: character_family("metaspace"),
    "xlmr": lambda: unigram_family("xlmr"),
    "albert": lambda: unigram_family("albert"),
    "words": word_bpe,
}


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
    elif mode in ("pieces", "form"):
        kind, file, out = args
        with open(file, "w") as output:
            json.dump(pieces_tokenizer(kind) if mode == "pieces" else form_tokenizer(kind), output)
        write_spans(Tokenizer.from_file(file), span_texts(kind, mode), out)
    elif mode == "family":
        name, texts, file, out = args
        tokenizer, trainer, finish = FAMILIES[name]()
        with open(texts) as source:
            tokenizer.train_from_iterator(json.load(source), trainer)
        tokenizer = finish() or tokenizer
        tokenizer.save(file)
        rng = random.Random(5)
        write(tokenizer, (random_text(rng) for _ in range(10000)), out)
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
