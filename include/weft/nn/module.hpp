#pragma once

#include <memory>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

/// Stands for TORCH_MODULE(Name): the same holder, plus a constructor from NameOptions, so that
/// `Attention({.hidden_size = 384})` compiles with aggregate options.
#define WEFT_MODULE(Name)                                                               \
  class Name : public torch::nn::ModuleHolder<Name##Impl> { /* NOLINT */                \
   public:                                                                              \
    using torch::nn::ModuleHolder<Name##Impl>::ModuleHolder;                            \
    using Impl [[maybe_unused]] = Name##Impl;                                           \
    explicit Name(const Name##Options& options)                                         \
        : torch::nn::ModuleHolder<Name##Impl>(std::make_shared<Name##Impl>(options)) {} \
  }
