"""Texts of many scripts, with white space, words and special tokens in between."""
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
