#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include "support/python.hpp"

namespace weft::parity {

/// The folder of fresh references (tests/parity/references.py), made once a process; empty where
/// there is no Python to make them or where it failed, which `failure` then says.
const std::filesystem::path& references();
const std::string& failure();

/// The tensors of a case file.
struct Case {
  std::filesystem::path file;
  std::map<std::string, at::Tensor> tensors;
  bool has(const std::string& name) const { return tensors.count(name) > 0; }
  const at::Tensor& at(const std::string& name) const { return tensors.at(name); }
};
std::vector<Case> read_cases(const std::filesystem::path& folder);

/// Holds the gradients of `module` to the parameters of the same names in `expected`, which was
/// loaded from a checkpoint of gradients.
void expect_gradients(const torch::nn::Module& module, const torch::nn::Module& expected);

/// Holds `table`, beside this file, to a row a registered family with every proof that it must
/// have.
void expect_rows(const std::string& table, const std::vector<std::string>& registered,
                 int64_t configurations);

/// Holds logits [B, T, V] and their next-token loss to the case's, then runs backward what its
/// reference did.
void expect_logits_and_run_backward(const at::Tensor& logits, const Case& given);

/// Gemma's key map adds 1 to the weights of norms; takes it from a checkpoint of gradients.
void take_one_from_norms(torch::nn::Module& gradients);

}  // namespace weft::parity

/// Ends the test: as failed where the references could not be made, as skipped without a Python.
#define WEFT_NEEDS_REFERENCES() \
  WEFT_NEEDS_PYTHON();          \
  if (weft::parity::references().empty()) FAIL() << weft::parity::failure()
