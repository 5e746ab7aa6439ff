"""torch.ops.weft.* of the shared library, called from Python: equal to the dense definitions with gradients, and sound
under torch.library.opcheck (schema, autograd registration, fake tensors, AOT dispatch with static and dynamic shapes).

    python python_ops_test.py LIBWEFT_SO
"""
import sys
import unittest

import torch
import torch.nn.functional as F

LIBRARY = sys.argv.pop(1)
torch.ops.load_library(LIBRARY)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def dense(image, text, scale):
    logits, labels = scale * image @ text.T, torch.arange(len(image))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def pairs(n, dtype=torch.float64):
    image = F.normalize(torch.randn(n, 24, dtype=torch.float64), dim=1)
    text = F.normalize(image + 0.1 * torch.randn(n, 24, dtype=torch.float64), dim=1)
    return [x.to(dtype).requires_grad_() for x in (image, text, torch.tensor(9.0))]


class InfoNce(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)

    def test_equals_the_dense_loss_with_gradients(self):
        for n in (1, 7, 300):
            inputs = pairs(n)
            ours, theirs = torch.ops.weft.info_nce(*inputs), dense(*inputs)
            torch.testing.assert_close(ours, theirs)
            torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs))

    def test_gradcheck(self):
        self.assertTrue(torch.autograd.gradcheck(torch.ops.weft.info_nce, pairs(5)))

    def test_opcheck(self):
        for dtype in (torch.float32, torch.bfloat16):
            inputs = tuple(pairs(6, dtype))
            torch.library.opcheck(torch.ops.weft.info_nce.default, inputs)
            torch.library.opcheck(torch.ops.weft._info_nce.default, inputs)

    def test_autocast_keeps_fp32(self):
        inputs = pairs(64, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.ops.weft.info_nce(*inputs)
        self.assertEqual(loss.dtype, torch.float32)
        torch.testing.assert_close(loss, dense(*inputs))


class Patches(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.pixels = torch.randint(0, 256, (2, 3, 20, 23), dtype=torch.uint8)
        self.weight = torch.randn(5, 3, 4, 4, requires_grad=True)
        self.bias = torch.randn(5, requires_grad=True)

    def test_equals_normalise_and_convolution(self):
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
        theirs = F.conv2d((self.pixels / 255 - mean) / std, self.weight, self.bias, stride=4).flatten(2).mT
        ours = torch.ops.weft.patch_embed(self.pixels, self.weight, self.bias, MEAN, STD)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

    def test_opcheck(self):
        pixels = torch.randn(2, 3, 20, 23, requires_grad=True)
        torch.library.opcheck(torch.ops.weft.patchify.default, (pixels, 4))
        torch.library.opcheck(torch.ops.weft._patchify.default, (self.pixels, 4, torch.bfloat16, 128))
        torch.library.opcheck(torch.ops.weft.patch_embed.default, (self.pixels, self.weight, self.bias, MEAN, STD))


class LinearCrossEntropy(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.x, self.weight, self.bias = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((2, 9, 6), (13, 6), (13,)))
        self.labels = torch.randint(13, (2, 9)).masked_fill(torch.rand(2, 9) < 0.4, -100)

    def test_equals_the_head_and_its_loss(self):
        for reduction in ("mean", "sum", "none"):
            ours = torch.ops.weft.linear_cross_entropy(self.x, self.weight, self.labels, self.bias, label_smoothing=0.1, reduction=reduction)
            theirs = F.cross_entropy(F.linear(self.x, self.weight, self.bias).flatten(0, 1), self.labels.flatten(), reduction=reduction, label_smoothing=0.1)
            torch.testing.assert_close(ours, theirs.view(ours.shape))
            inputs, above = (self.x, self.weight, self.bias), torch.rand_like(ours)
            torch.testing.assert_close(torch.autograd.grad(ours, inputs, above), torch.autograd.grad(theirs.view(ours.shape), inputs, above))

    def test_backward_of_a_tied_transposed_weight(self):
        for keep in (False, True):
            x, embedding = torch.randn(5, 6, requires_grad=True), torch.randn(6, 13, requires_grad=True)
            labels = torch.arange(5)
            ours = torch.ops.weft.linear_cross_entropy(x, embedding.t(), labels) + embedding.square().sum()
            theirs = F.cross_entropy(x @ embedding, labels) + embedding.square().sum()
            for _ in range(2 if keep else 1):
                torch.testing.assert_close(torch.autograd.grad(ours, (x, embedding), retain_graph=keep),
                                           torch.autograd.grad(theirs, (x, embedding), retain_graph=keep))

    def test_opcheck(self):
        for dtype in (torch.float32, torch.bfloat16):
            x, weight, bias = (t.detach().to(dtype).requires_grad_() for t in (self.x, self.weight, self.bias))
            for reduction in ("mean", "none"):
                torch.library.opcheck(torch.ops.weft.linear_cross_entropy.default, (x, weight, self.labels, bias, 0.1, 0.01, 5.0, reduction))
            torch.library.opcheck(torch.ops.weft._linear_cross_entropy_rows.default, (
                x.detach().flatten(0, 1), weight.detach(), self.labels.flatten(), None, torch.rand(18), 0.1, 0.0, 0.0, [True, True, False]))

    def test_names_the_reductions(self):
        with self.assertRaisesRegex(ValueError, "reduction must be mean, sum or none, got max"):
            torch.ops.weft.linear_cross_entropy(self.x, self.weight, self.labels, reduction="max")


class Splice(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.mask = torch.rand(2, 11) < 0.4
        self.embeddings = torch.randn(2, 11, 6, requires_grad=True)
        self.visual = torch.randn(int(self.mask.sum()), 6, requires_grad=True)

    def test_equals_masked_scatter(self):
        inputs = self.embeddings, self.visual
        ours = torch.ops.weft.splice(*inputs, self.mask)
        theirs = self.embeddings.masked_scatter(self.mask.unsqueeze(-1).expand_as(self.embeddings), self.visual)
        above = torch.rand_like(ours)
        self.assertTrue(ours.equal(theirs))
        for a, b in zip(torch.autograd.grad(ours, inputs, above), torch.autograd.grad(theirs, inputs, above)):
            self.assertTrue(a.equal(b))

    def test_opcheck(self):
        torch.library.opcheck(torch.ops.weft.splice.default, (self.embeddings, self.visual, self.mask))
        torch.library.opcheck(torch.ops.weft._splice.default, (self.embeddings.flatten(0, 1), self.visual, self.mask.flatten()))


class RmsNorm(unittest.TestCase):
    """Against torch's and Llama's."""

    def setUp(self):
        torch.manual_seed(0)
        self.x, self.weight = torch.randn(2, 7, 40).requires_grad_(), torch.rand(40).requires_grad_()

    def test_equals_torch_and_llama(self):
        from transformers.models.llama.modeling_llama import LlamaRMSNorm
        llama = LlamaRMSNorm(40, 1e-5)
        llama.weight = torch.nn.Parameter(self.weight.detach().clone())
        ours, above = torch.ops.weft.rms_norm(self.x, self.weight, 1e-5), torch.rand(2, 7, 40)
        theirs = torch.nn.functional.rms_norm(self.x, (40,), self.weight, 1e-5)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours, llama(self.x), rtol=1e-5, atol=1e-6)
        inputs = self.x, self.weight
        torch.testing.assert_close(torch.autograd.grad(ours, inputs, above), torch.autograd.grad(theirs, inputs, above), rtol=1e-5, atol=1e-5)

    def test_opcheck(self):
        for x in (self.x, self.x.detach().transpose(0, 1).requires_grad_(), self.x.detach().bfloat16().requires_grad_()):
            for weight in (self.weight, None):
                torch.library.opcheck(torch.ops.weft.rms_norm.default, (x, weight, 1e-5))
                torch.library.opcheck(torch.ops.weft._rms_norm.default, (x, weight, 1e-5))
                with torch.no_grad():
                    out, rstd = torch.ops.weft._rms_norm(x, weight, 1e-5)
                    given = torch.ones_like(out), x.detach(), None if weight is None else weight.detach(), rstd, [True, True]
                torch.library.opcheck(torch.ops.weft._rms_norm_backward.default, given)


class GatedLinear(unittest.TestCase):
    FORMULAS = {"silu": F.silu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}

    def setUp(self):
        torch.manual_seed(0)
        self.inputs = [torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((2, 5, 6), (2, 5, 6), (3, 6), (3,))]

    def test_equals_the_formula_with_gradients(self):
        for name, activate in self.FORMULAS.items():
            gate, up, weight, bias = self.inputs
            ours, theirs = torch.ops.weft.gated_linear(*self.inputs, name), F.linear(activate(gate) * up, weight, bias)
            torch.testing.assert_close(ours, theirs)
            above = torch.rand_like(ours)
            torch.testing.assert_close(torch.autograd.grad(ours, self.inputs, above), torch.autograd.grad(theirs, self.inputs, above))

    def test_gradients_of_gradients(self):
        for name in self.FORMULAS:
            work = lambda *inputs: torch.ops.weft.gated_linear(*inputs, name)
            self.assertTrue(torch.autograd.gradcheck(work, self.inputs))
            self.assertTrue(torch.autograd.gradgradcheck(work, self.inputs))

    def test_opcheck(self):
        for dtype in (torch.float32, torch.bfloat16):
            inputs = [t.detach().to(dtype).requires_grad_() for t in self.inputs]
            gate, up, weight = (t.detach() for t in inputs[:3])
            for number, name in enumerate(self.FORMULAS):
                torch.library.opcheck(torch.ops.weft.gated_linear.default, (*inputs, name))
                torch.library.opcheck(torch.ops.weft.gated_linear.default, (gate, up, weight, None, name))
                torch.library.opcheck(torch.ops.weft._gated.default, (*inputs[:2], number))
                torch.library.opcheck(torch.ops.weft._gated_backward.default, (torch.rand_like(gate), gate, up, number, [True, False, True]))

    def test_autocast_is_that_of_a_linear_layer(self):
        inputs = [t.detach().float() for t in self.inputs]
        with torch.autocast("cpu", torch.bfloat16):
            out = torch.ops.weft.gated_linear(*inputs)
        self.assertEqual(out.dtype, torch.bfloat16)
        self.assertTrue(out.equal(torch.ops.weft.gated_linear(*(t.bfloat16() for t in inputs))))

    def test_names_the_activations(self):
        with self.assertRaisesRegex(ValueError, "activation must be silu, gelu or gelu_tanh, got relu"):
            torch.ops.weft.gated_linear(*self.inputs, "relu")


class Rope(unittest.TestCase):
    """Against transformers' functions, as its models call them."""

    def setUp(self):
        torch.manual_seed(0)
        self.x = torch.randn(2, 7, 4, 16).transpose(1, 2).requires_grad_()

    def check(self, ours, theirs):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        above = torch.rand_like(ours)
        torch.testing.assert_close(torch.autograd.grad(ours, self.x, above), torch.autograd.grad(theirs, self.x, above), rtol=1e-5, atol=1e-6)

    def test_llama(self):
        from transformers import LlamaConfig
        from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
        embedding = LlamaRotaryEmbedding(LlamaConfig(hidden_size=64, num_attention_heads=4))
        positions = torch.randint(4096, (2, 7))
        cos, sin = torch.ops.weft.rope_tables(positions, embedding.inv_freq)
        their_cos, their_sin = embedding(self.x, positions)
        self.assertTrue(torch.cat((cos, cos), -1).equal(their_cos) and torch.cat((sin, sin), -1).equal(their_sin))
        self.check(torch.ops.weft.rope(self.x, cos, sin), apply_rotary_pos_emb(self.x, self.x, their_cos, their_sin)[0])

    def test_partial_rotation_of_gptj(self):
        from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb
        angles = torch.rand(2, 7, 3) * 9
        ours = torch.ops.weft.rope(self.x, angles.cos(), angles.sin(), interleaved=True)
        turned = apply_rotary_pos_emb(self.x.transpose(1, 2)[..., :6], angles.sin(), angles.cos()).transpose(1, 2)
        self.check(ours, torch.cat((turned, self.x[..., 6:]), -1))

    def test_sections_of_qwen(self):
        from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig
        from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding
        from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
        from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding
        sizes = dict(hidden_size=64, num_attention_heads=4, num_key_value_heads=4, head_dim=16)
        for config_class, embedding_class, sections, alternate in (
                (Qwen2VLTextConfig, Qwen2VLRotaryEmbedding, [2, 3, 3], False), (Qwen3VLTextConfig, Qwen3VLTextRotaryEmbedding, [4, 2, 2], True)):
            config = config_class(**sizes, rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=sections))
            embedding, positions = embedding_class(config), torch.randint(500, (3, 2, 7))
            cos, sin = torch.ops.weft.rope_tables(positions, embedding.inv_freq, sections, alternate)
            their_cos, their_sin = embedding(self.x, positions)
            torch.testing.assert_close(torch.cat((cos, cos), -1), their_cos, rtol=0, atol=1e-6)
            torch.testing.assert_close(torch.cat((sin, sin), -1), their_sin, rtol=0, atol=1e-6)

    def test_opcheck(self):
        angles = torch.rand(1, 7, 5)
        for interleaved in (False, True):
            torch.library.opcheck(torch.ops.weft.rope.default, (self.x, angles.cos(), angles.sin(), interleaved))
        torch.library.opcheck(torch.ops.weft._rope.default, (self.x, angles.cos(), angles.sin(), False, True))
        torch.library.opcheck(torch.ops.weft.rope_tables.default, (torch.randint(9, (3, 2, 7)), torch.rand(8), [2, 3, 3]))


if __name__ == "__main__":
    unittest.main()
