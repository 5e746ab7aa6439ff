"""Random configurations of the language models that weft registers, and transformers' own results for them in fp64."""
import torch
import transformers
from safetensors.torch import save_file

from families import ACTIVATIONS, blocks_of_names, randomize

LENGTH = 40  # positions of the tables


def shared(rng, k):
    heads = rng.choice([2, 4])
    head_dim = rng.choice([8, 12, 16])
    return dict(hidden_size=heads * head_dim, num_attention_heads=heads, num_hidden_layers=rng.choice([2, 3]), vocab_size=rng.randrange(40, 90),
                intermediate_size=rng.choice([17, 30, 45]), max_position_embeddings=LENGTH, tie_word_embeddings=k == 3 or rng.random() < 0.5,
                num_key_value_heads=rng.choice([1, 2, heads]), rms_norm_eps=rng.choice([1e-6, 1e-5, 1e-3]),
                bos_token_id=1, eos_token_id=2, pad_token_id=0)


def act(rng, k):
    return ACTIVATIONS[(k + rng.randrange(2)) % len(ACTIVATIONS)]


def llama(rng, k):
    out = dict(shared(rng, k), hidden_act="silu" if k else act(rng, k), attention_bias=k == 1, mlp_bias=k == 2)
    out["rope_parameters"] = [
        {"rope_type": "default", "rope_theta": rng.choice([1e4, 5e5])},
        {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
        {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5},
        {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}][k]
    if k == 0:  # a width of heads of its own
        out["head_dim"] = 10
    if k == 3:
        out["max_position_embeddings"] = 12
    return out


def mistral(rng, k):
    return dict(shared(rng, k), head_dim=rng.choice([8, 14]), sliding_window=[None, 5, 7, 100][k], rope_parameters={"rope_type": "default", "rope_theta": 1e4})


def qwen2(rng, k):
    out = dict(shared(rng, k), rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    if k == 1:
        out["rope_parameters"] = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
    if k >= 2:
        out.update(use_sliding_window=True, sliding_window=6, max_window_layers=1)
    return out


def qwen3(rng, k):
    out = dict(qwen2(rng, k), head_dim=rng.choice([8, 14]), attention_bias=k == 1)
    if k == 1:
        out["rope_parameters"].update(attention_factor=1.3, beta_fast=20, beta_slow=2)
    return out


def phi3(rng, k):
    out = dict(shared(rng, k), sliding_window=[None, 6, None, None][k], rope_parameters={"rope_type": "default", "rope_theta": 1e4})
    half = out["hidden_size"] // out["num_attention_heads"] // 2
    if k == 2:
        out["rope_parameters"]["partial_rotary_factor"] = 0.5
    if k in (1, 3):
        original = 11 if k == 3 else 60  # shorter than the texts, and longer
        out.update(original_max_position_embeddings=original, max_position_embeddings=4 * original)
        out["rope_parameters"] = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1 + 0.1 * i for i in range(half)],
                                  "long_factor": [2 + 0.3 * i for i in range(half)], "original_max_position_embeddings": original}
    return out


def gemma(rng, k):
    return dict(shared(rng, k), head_dim=rng.choice([8, 14]), attention_bias=k == 1, hidden_act=act(rng, k), tie_word_embeddings=True)


def gemma2(rng, k):
    out = dict(gemma(rng, k), hidden_activation=act(rng, k), query_pre_attn_scalar=rng.choice([8, 20]), sliding_window=rng.choice([4, 6]),
               attn_logit_softcapping=None if k == 1 else rng.choice([2.0, 50.0]), final_logit_softcapping=None if k == 2 else 3.0)
    del out["hidden_act"]
    return out


def gemma3(rng, k):
    out = dict(gemma2(rng, k), attn_logit_softcapping=None)
    types = [rng.choice(["sliding_attention", "full_attention"]) for _ in range(out["num_hidden_layers"])]
    types[0], types[-1] = "sliding_attention", "full_attention"
    full = {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0} if k == 1 else {"rope_type": "default", "rope_theta": 1e5}
    return dict(out, layer_types=types, rope_parameters={"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})


def gpt2(rng, k):
    heads = rng.choice([2, 4])
    return dict(n_embd=heads * rng.choice([6, 10]), n_head=heads, n_layer=rng.choice([2, 3]), n_inner=rng.choice([None, 30, 45]), n_positions=LENGTH,
                vocab_size=rng.randrange(40, 90), activation_function=["gelu_new", "gelu", "relu", "gelu_new"][k], layer_norm_epsilon=rng.choice([1e-5, 1e-3]),
                bos_token_id=1, eos_token_id=2, tie_word_embeddings=k != 2)


def opt(rng, k):
    heads = rng.choice([2, 4])
    hidden = heads * rng.choice([6, 10])
    return dict(hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=rng.choice([2, 3]), ffn_dim=rng.choice([30, 45]), max_position_embeddings=LENGTH,
                vocab_size=rng.randrange(40, 90), activation_function="relu" if k else "gelu", do_layer_norm_before=k != 1,
                word_embed_proj_dim=14 if k in (1, 3) else hidden, enable_bias=k != 2, bos_token_id=2, eos_token_id=2, pad_token_id=1)


# family: configuration class, its draw, the model with its head, the model without
FAMILIES = {
    "gemma": (transformers.GemmaConfig, gemma, transformers.GemmaForCausalLM, transformers.GemmaModel),
    "gemma2": (transformers.Gemma2Config, gemma2, transformers.Gemma2ForCausalLM, transformers.Gemma2Model),
    "gemma3_text": (transformers.Gemma3TextConfig, gemma3, transformers.Gemma3ForCausalLM, transformers.Gemma3TextModel),
    "gpt2": (transformers.GPT2Config, gpt2, transformers.GPT2LMHeadModel, transformers.GPT2Model),
    "llama": (transformers.LlamaConfig, llama, transformers.LlamaForCausalLM, transformers.LlamaModel),
    "mistral": (transformers.MistralConfig, mistral, transformers.MistralForCausalLM, transformers.MistralModel),
    "opt": (transformers.OPTConfig, opt, transformers.OPTForCausalLM, transformers.OPTModel),
    "phi3": (transformers.Phi3Config, phi3, transformers.Phi3ForCausalLM, transformers.Phi3Model),
    "qwen2": (transformers.Qwen2Config, qwen2, transformers.Qwen2ForCausalLM, transformers.Qwen2Model),
    "qwen3": (transformers.Qwen3Config, qwen3, transformers.Qwen3ForCausalLM, transformers.Qwen3Model),
}


def centre_norms(model):
    """Gemma's norms multiply by 1 + weight."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.sub_(1)


def load_fp64(model_class, folder):
    model, info = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    return model.double().eval(), info


def save_model(family, k, config, generator, folder):
    _, _, model_class, bare_class = FAMILIES[family]
    model = (bare_class if k == 3 and config.tie_word_embeddings else model_class)(config)
    randomize(model, generator)
    if family.startswith("gemma"):
        centre_norms(model)
    if k == 1:
        model = model.bfloat16()
    model.save_pretrained(folder, **({"max_shard_size": "20KB"} if k == 2 else {}))


def load(family, folder, _=None):
    return load_fp64(FAMILIES[family][2], folder)


def inputs(config, rng, generator):
    """One whole text; three padded on the right, three on the left."""
    vocab = config.vocab_size
    out = {}
    for c, side in enumerate(["", "right", "left"]):
        batch, length = (3, rng.randrange(12, 24)) if side else (1, rng.randrange(20, 30))
        ids = torch.randint(3, vocab, (batch, length), generator=generator)
        # These frequencies are those of the batch's longest text.
        alike = (getattr(config, "rope_parameters", None) or {}).get("rope_type") in ("dynamic", "longrope")
        lengths = torch.tensor([length if b == 0 or alike else rng.randrange(2, length) for b in range(batch)])
        index = torch.arange(length)[None, :]
        mask = index >= length - lengths[:, None] if side == "left" else index < lengths[:, None]
        labels = torch.where(mask & (torch.rand(batch, length, generator=generator) < 0.7), ids, -100)
        labels[:, -1] = ids[:, -1]
        labels[~mask] = -100
        labels[:, 1:][~mask[:, :-1]] = -100  # nothing real stands in front of a text's first token
        out[str(c)] = {"ids": torch.where(mask, ids, 0), "mask": mask, "labels": labels}
    return out


def run(family, model, given):
    """logits and every hidden layer before the final norm, padding set to 0; the loss. Each text runs alone, without padding."""
    hidden, layers = [], blocks_of_names(model, "model.layers", "transformer.h", "model.decoder.layers")
    first = lambda x: x[0] if isinstance(x, tuple) else x
    hooks = [layers[0].register_forward_pre_hook(lambda m, a, k: hidden.append(first(a if a else k["hidden_states"])), with_kwargs=True)]
    hooks += [layer.register_forward_hook(lambda m, a, out: hidden.append(first(out))) for layer in layers]
    rows = []
    for ids, mask in zip(given["ids"], given["mask"]):
        hidden.clear()
        logits = model(input_ids=ids[mask][None], use_cache=False).logits
        begin = int(mask.int().argmax())
        pad = (0, 0, begin, mask.numel() - begin - int(mask.sum()))
        rows.append([torch.nn.functional.pad(x[0], pad) for x in (logits, *hidden)])
    for hook in hooks:
        hook.remove()
    logits, *hidden = (torch.stack(parts) for parts in zip(*rows))
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), given["labels"][:, 1:].flatten())
    return {"logits": logits, "loss": loss, **{f"hidden.{i}": h for i, h in enumerate(hidden)}}


def generate(family, folder, given, count):
    """Greedy ids of each text alone."""
    rows = []
    for ids, mask in zip(given["ids"], given["mask"]):
        model, _ = load(family, folder)
        prompt = ids[mask][None]
        with torch.no_grad():
            rows.append(model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, do_sample=False, eos_token_id=[],
                                       pad_token_id=0)[0, prompt.shape[1]:])
    return torch.stack(rows)


def write_cases(family, folder, rng, generator, write_gradients):
    config = FAMILIES[family][0].from_pretrained(folder)
    for c, given in inputs(config, rng, generator).items():
        model, info = load(family, folder)
        assert not info["missing_keys"], info
        expected = run(family, model, given)
        weight = torch.randn(expected["logits"].shape, generator=generator)
        (expected["loss"] + 0.1 * (expected["logits"] * weight.double()).sum()).backward()
        tensors = {**given, "weight.logits": weight, **{k: v.detach() for k, v in expected.items()}}
        if c != "1":  # generation reads padding on the left
            tensors["greedy"] = generate(family, folder, given, 8 if family in ("gpt2", "opt") else 20)
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / f"case-{c}.safetensors")
        write_gradients(family, model, folder / f"gradients-{c}")


def write_real(models, out):
    """Greedy ids of SmolLM2 in fp32, for prompts under its own chat template."""
    folder = models / "smollm2-135m"
    if not folder.is_dir():
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    (out / "smollm2-135m").mkdir(parents=True)
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    given = tokenizer.apply_chat_template(chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True)
    ids, mask = given["input_ids"], given["attention_mask"]
    with torch.no_grad():
        greedy = model.generate(ids, attention_mask=mask, max_new_tokens=64, do_sample=False)
        logits = model(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits[:, -1]
    save_file({"ids": ids, "mask": mask.bool(), "greedy": greedy[:, ids.shape[1]:].contiguous(), "logits": logits.contiguous()},
              out / "smollm2-135m/case-0.safetensors")


PROMPTS = ["What is the capital of France?", "Write a haiku about the sea.", "List three uses of a paper clip.", "Explain gravity to a child.",
           "Translate 'good morning' to Spanish.", "What is 17 plus 25?", "Who wrote Hamlet?", "Describe a dog running on a beach.",
           "Give me a recipe for pancakes.", "Why is the sky blue?", "Name the planets of the solar system.", "What is a transformer in machine learning?",
           "Tell me a joke.", "Summarise the story of Cinderella in two sentences.", "How do I tie a tie?", "What colour do you get from blue and yellow?",
           "Write a Python function that adds two numbers.", "What is the largest ocean?", "Continue: once upon a time", "Is a whale a fish?"]
