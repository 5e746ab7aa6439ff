"""CLIP's ids by open_clip and by Hugging Face's `tokenizers`. A line of OUT: the text as UTF-8 in hex (surrogates as they are), open_clip's
ids or '-' where ftfy's encoding repair changes the text, Hugging Face's ids or '-' where it cannot read the text, its offsets.

  clip_reference.py random TOKENIZER.json VOCAB.txt.gz SEED COUNT OUT
  clip_reference.py sweep TOKENIZER.json VOCAB.txt.gz OUT      every code point and every HTML entity; open_clip's without the repair
"""
import html
import importlib.util
import multiprocessing
from pathlib import Path
import random
import sys

import ftfy
from ftfy.chardata import HTML_ENTITIES
import regex
from tokenizers import Tokenizer

# The module alone: the package imports every model there is.
spec = importlib.util.spec_from_file_location(
    "open_clip_tokenizer", Path(importlib.util.find_spec("open_clip").origin).with_name("tokenizer.py"))
open_clip_tokenizer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(open_clip_tokenizer)

RANGES = [(0x20, 0x7E)] * 8 + [
    (0, 0x1F), (0x7F, 0xA0), (0xA0, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x5FF), (0x600, 0x6FF), (0x700, 0x7FF),
    (0x900, 0xDFF), (0xE00, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x4FFF),
    (0xAC00, 0xACFF), (0xD7B0, 0xD7FF), (0xF900, 0xFAFF), (0xFB00, 0xFB06), (0xFE00, 0xFFEF), (0xFFF0, 0xFFFF), (0x10000, 0x11FFF),
    (0x1D400, 0x1D7FF), (0x1F100, 0x1F1FF), (0x1F300, 0x1FAFF), (0x20000, 0x20100), (0xE0000, 0xE01FF), (0, 0x10FFFF)]
WORDS = """A dog runs across the grass while two children in red jackets watch . It's they'll don't WE'RE I'd i'M you'Ve naïve Übung ΟΔΟΣ Σ ΑΣ,
 ΑΣα İstanbul ſ's'ſ 'tis rock'n'roll 2023 3.14 ١٢٣ Ⅷ ½ photo-realistic <|startoftext|> <|endoftext|> <|ENDOFTEXT|> <start_of_text> <END_OF_TEXT>
 !<start_of_text> <b>bold</b> &lt;b&gt; AT&T R&D ＦＵＬＬ　ＷＩＤＴＨ ｶﾞﾊﾟ ﬁne ﬀﬃ “quoted” ‘single’ it’s ʼn ŉ Ǆ ĳ é é ạ̈ 한글 한글 中文字 日本語テキスト สวัสดี हिन्दी ру́сский
 \x1b[31mred\x1b[0m \x1b[1;٣m \x1b[x \ufeff \u200b \u2028 \x85 \x93hi\x94 👍🏽 👨‍👩‍👧 🇩🇪 ❤️ & &# ; </w> <br/> http://a.b/?c=1&d=2""".split(" ")
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u00a0", "\u3000", "\u2028", "\u2009", "\u200b", ""]
NAMES = sorted(html.entities.html5) + [name[1:] for name in HTML_ENTITIES if name[1:] not in html.entities.html5]
NUMBERS = [0, 8, 9, 10, 13, 27, 38, 39, 59, 60, 65, 127, 128, 129, 133, 150, 159, 160, 173, 0x2019, 0xD800, 0xFB01, 0xFFFE, 0x1F600, 0x10FFFF, 0x110000]


def entity(rng):
    kind = rng.random()
    if kind < 0.4:
        name = rng.choice(NAMES)
    elif kind < 0.5:
        name = rng.choice(NAMES).rstrip(";") + rng.choice(["", "x", "1;", "é;", "&amp;"])
    elif kind < 0.6:
        name = rng.choice(["amp;amp;lt;", "amp;#39;", "ampamp;", "AMP;LT;", "aMp;", "notit;", "&", "quot;&amp;quot;"])
    else:
        number = rng.choice(NUMBERS) if rng.random() < 0.7 else rng.randint(0, 0x110010)
        name = rng.choice(["#%d", "#x%x", "#X%X", "#00%d"]) % number + rng.choice([";", ";", "", "z", "a;", "99999999999999999999999999;"])
    return "&" + name


def random_text(rng):
    text = ""
    for _ in range(rng.randint(0, 10)):
        kind = rng.random()
        if kind < 0.35:
            word = rng.choice(WORDS)
            text += rng.choice([word, word.upper(), word.title(), word.lower()]) + rng.choice([" ", ""])
        elif kind < 0.5:
            text += rng.choice(SPACES)
        elif kind < 0.62:
            text += entity(rng)
        elif kind < 0.622:
            text += "".join(chr(rng.randint(0xD800, 0xDFFF)) for _ in range(rng.randint(1, 3)))
        elif kind < 0.624:
            text += chr(rng.randint(0xD800, 0xDBFF)) + chr(rng.randint(0xDC00, 0xDFFF))
        else:
            low, high = rng.choice(RANGES)
            codes = [rng.randint(low, high) for _ in range(rng.randint(1, 4))]
            text += "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)
    return text


def sweep_texts():
    # Ideographs and syllables, private and empty planes: a sample and the edges of what `regex` takes for letters will do.
    letter = [bool(regex.match(r"\p{L}", chr(c))) for c in range(0x110000)] + [False]

    def alike(c):
        return (0x3400 <= c < 0xA000 or 0xAC00 <= c < 0xD7B0 or 0x17000 <= c < 0x18B00 or 0x20000 <= c < 0xE0000 or c >= 0xE1000)
    codes = [c for c in range(0x110000)
             if c != 0x0A and (not alike(c) or c % 61 == 0 or letter[c] != letter[c - 1] or letter[c] != letter[c + 1])]
    for begin in range(0, len(codes), 8):
        yield "".join(f"a{chr(c)}b {chr(c)}Σ1{chr(c)} A{chr(c)}Σ{chr(c)}a!{chr(c)}\u0323\u0301 " for c in codes[begin:begin + 8])
    for begin in range(0, len(NAMES), 4):
        names = NAMES[begin:begin + 4]
        yield " ".join(f"&{name} x&{name.upper()}" for name in names)
        yield "< " + " ".join(f"&{name.rstrip(';')}y &{name.upper()}" for name in names)


def start(mode, tokenizer_file, vocab):
    global tokenizer, simple, repairs
    tokenizer, simple, repairs = Tokenizer.from_file(tokenizer_file), open_clip_tokenizer.SimpleTokenizer(vocab), mode == "random"
    tokenizer.no_truncation()
    tokenizer.no_padding()


def row(text):
    # open_clip calls ftfy.fix_text, by its name in that module.
    plain = fix_text(text, fix_encoding=False)
    fixed = fix_text(text) if repairs else plain
    ftfy.fix_text = lambda _: fixed
    ids = " ".join(map(str, simple.encode(text))) if fixed == plain else "-"
    try:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        theirs, offsets = " ".join(map(str, encoding.ids)), " ".join(f"{a} {b}" for a, b in encoding.offsets)
    except TypeError:  # surrogates
        theirs = offsets = "-"
    return "\t".join([text.encode("utf-8", "surrogatepass").hex(), ids, theirs, offsets]) + "\n"


def main(mode, tokenizer_file, vocab, *args):
    if mode == "random":
        seed, count, out = args
        rng = random.Random(int(seed))
        texts = [random_text(rng) for _ in range(int(count))]
    else:
        out, = args
        texts = list(sweep_texts())
    assert open_clip_tokenizer.ftfy is ftfy
    with multiprocessing.Pool(2, start, (mode, tokenizer_file, vocab)) as pool, open(out, "w") as file:
        file.writelines(pool.imap(row, texts, 500))


fix_text = ftfy.fix_text
if __name__ == "__main__":
    main(*sys.argv[1:])
