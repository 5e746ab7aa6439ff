"""Encodings by tiktoken: tiktoken_reference.py RANKS.tiktoken PATTERN SEED COUNT OUT.jsonl; exits 77 where it is not installed."""
import base64
import json
import random
import sys

from random_texts import random_text

try:
    import tiktoken
    from tiktoken_ext import openai_public
except ModuleNotFoundError:
    sys.exit(77)

file, pattern, seed, count, out = sys.argv[1:]
ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in open(file, "rb") if line.strip())}
# The patterns as tiktoken has them; its constructors would fetch the ranks.
openai_public.load_tiktoken_bpe = lambda *_, **__: {}
text = openai_public.r50k_pat_str if pattern == "gpt2" else getattr(openai_public, pattern + "_base")()["pat_str"]
encoding = tiktoken.Encoding("test", pat_str=text, mergeable_ranks=ranks, special_tokens={})
rng = random.Random(int(seed))
with open(out, "w") as output:
    for _ in range(int(count)):
        text = random_text(rng)
        output.write(json.dumps({"text": text, "ids": encoding.encode_ordinary(text)}) + "\n")
