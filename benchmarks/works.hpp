#pragma once

#include <functional>
#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include <weft/core/json.hpp>

namespace weft::benchmarks {

/// What a run gave, by name: benchmarks/compare.py holds it against the peer's.
using Outputs = std::map<std::string, at::Tensor>;

/// The timed part of a row. What it needs was read when it was made.
using Work = std::function<Outputs()>;

/// {"shards", "tokenizer", "batch_size", "size", "workers"}: the middle of each image and its ids,
/// by key
Work data_path(const Json& args);
Work jpeg_to_tensor(const Json& args);  ///< {"images": tar, "size": S}: pixels [B, 3, S, S]
Work encode(const Json& args);          ///< {"model", "inputs", "precision"}: tokens or pooled
Work encode_clip(const Json& args);     ///< {"model", "inputs", "precision"}: image or text [B, E]
Work train_clip(const Json& args);  ///< the same, with both inputs: losses [4] of the first steps
/// {"model", "inputs", "precision", "prompt"}: logits [1, 1, V] behind the last of the given tokens
Work decode(const Json& args);
Work prefill(const Json& args);  ///< the same, all tokens at once
/// {"inputs", "precision"}: out, and the gradients of x and the three weights
Work gated_mlp(const Json& args);
/// {"tokenizer", "texts", "batch_size", "max_length", "threads"}, the last two optional: ids [N]
Work tokenize(const Json& args);
/// {"tokenizer", "texts", "batch_size", "threads"}: how many ids and a sum over all []
Work tokenize_corpus(const Json& args);
Work read_safetensors(const Json& args);  ///< {"path", "touch"}: count [] or sums [tensors]
Work read_tar(const Json& args);          ///< {"path"}: members, bytes, name_bytes []
Work info_nce(const Json& args);          ///< {"inputs"}: loss and the three gradients
/// {"inputs", "precision", "labelled": 100, 30 or 10}: loss and the two gradients
Work linear_cross_entropy(const Json& args);
Work rms_norm(const Json& args);  ///< {"inputs", "precision"}: and its gradients
Work rope(const Json& args);      ///< {"inputs", "precision"}: q, k and their gradients
Work splice(const Json& args);    ///< {"inputs"}: out and the two gradients, in bf16
/// {"vision", "language", "inputs", "image_token", "precision", "packed"}: losses [3] of the first
/// steps
Work train_vlm(const Json& args);
Work matrix_product(const Json& args);  ///< {"size", "precision"}: the machine's GEMM rate
Work copy(const Json& args);            ///< {"bytes"}: the machine's copy bandwidth

/// A work of training: its first run gives the losses [checked] of as many steps, of which the
/// later ones follow from gradients and updates; every other run is one step.
Work training(std::function<at::Tensor()> step, int checked);

/// The tensors of a file, copied.
Outputs read_tensors(const std::string& path);

}  // namespace weft::benchmarks
