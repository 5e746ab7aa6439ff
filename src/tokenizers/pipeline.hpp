#pragma once

#include <functional>
#include <map>

#include "tokenizers/added_tokens.hpp"
#include "tokenizers/components.hpp"

namespace weft::tokenizers {

/// The parts of a tokenizer that comes from another file.
struct PipelineParts {
  std::unique_ptr<Normalizer> normalizer = {};
  std::unique_ptr<PreTokenizer> pre_tokenizer = {};
  std::unique_ptr<Model> model = {};
  std::unique_ptr<Decoder> decoder = {};
  PostProcessor post = {};
  std::vector<AddedToken> added = {};  ///< which texts are searched for
  std::vector<int64_t> specials = {};  ///< ids of the model, which no text is searched for
  std::optional<int64_t> pad = {};
};

/// A tokenizer.json at work.
class Pipeline : public Tokenizer {
 public:
  Pipeline(PipelineParts parts, const std::string& file);

  /// `document` is the parsed tokenizer.json; `config` what stands in the tokenizer_config.json
  /// beside it (or null); `file` names it in errors.
  Pipeline(json document, const json& config, const std::string& file);

  Encoding encode(std::string_view text, const EncodeOptions& options) const override;
  void encode_ids(std::string_view text, const EncodeOptions& options,
                  std::vector<int64_t>& out) const override;
  std::string decode(const std::vector<int64_t>& ids, bool skip_special) const override;
  std::unique_ptr<DecodeStream> stream(bool skip_special) const override;
  int64_t vocab_size() const override { return size_; }
  std::optional<int64_t> id(std::string_view token) const override;
  std::string token(int64_t id) const override;
  bool is_special(int64_t id) const override;
  int64_t pad_id() const override;
  void save(const std::filesystem::path& tokenizer_json) const override;

  /// The same with further added tokens, whose ids follow the highest.
  std::shared_ptr<Pipeline> with_added(const std::vector<std::string>& tokens, bool special) const;
  /// The same with `end` behind every text, and as padding where none is known.
  std::shared_ptr<Pipeline> with_end(int64_t end) const;

  /// The token that decoding reads for an id; nullptr where it is left out.
  const std::string* decoded_token(int64_t id, bool skip_special) const;

 protected:
  const Model& model() const { return *model_; }

 private:
  /// Takes the tokens of one part of the text, in order; false stops the walk. `added`: the one
  /// added token that stands there.
  using Sink = std::function<bool(const Text&, const std::vector<Token>&, bool added)>;
  const std::string* find_token(int64_t id) const;
  json whole_document() const;
  void read_added_tokens(const Where& where);
  void set_added_tokens(const std::vector<AddedToken>& tokens, const Where& where);
  void read_pad(const json& config, const Where& where);
  void walk(std::string_view text, bool tracked, const Sink& sink) const;
  bool walk_normalized(Text& text, const Sink& sink) const;
  bool walk_plain(Text& text, const Sink& sink) const;

  std::string file_;
  json document_;  // everything but the model's vocabulary and merges
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Decoder> decoder_;
  PostProcessor post_;
  std::map<int64_t, AddedToken> added_;
  std::map<std::string, int64_t, std::less<>> added_ids_;
  AddedTokenMatcher raw_, normalized_;
  std::optional<int64_t> pad_;
  int64_t size_ = 0;
};

/// An entry of "added_tokens".
AddedToken read_added_token(const json& token, const Where& where);

/// The text of a token in tokenizer_config.json: a string or {"content": ..}; "" for anything else.
std::string token_content(const json& token);

}  // namespace weft::tokenizers
