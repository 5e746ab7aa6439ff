"""weft's ops in Python, with autograd, autocast and torch.compile. The library must be built against the torch that runs here.

    python ops.py build/dev/lib/libweft.so
"""
import sys
import torch, torch.nn.functional as F

torch.ops.load_library(sys.argv[1])
image, text = (F.normalize(torch.randn(1000, 512), dim=-1).requires_grad_() for _ in range(2))
tau = torch.tensor(2.66, requires_grad=True)

loss = torch.ops.weft.info_nce(image, text, tau.exp())  # the 1000 x 1000 logits are never whole in memory
loss.backward()
print(f"info_nce {loss.item():.4f}, d loss / d tau {tau.grad.item():.4f}")

pixels = torch.randint(0, 256, (2, 3, 126, 126), dtype=torch.uint8)
weight, bias = torch.randn(384, 3, 14, 14) * 0.02, torch.zeros(384)
mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
print("patch_embed", tuple(torch.ops.weft.patch_embed(pixels, weight, bias, mean, std).shape))
