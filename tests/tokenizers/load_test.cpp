#include <fstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <weft/core/error.hpp>
#include <weft/tokenizers/bpe_trainer.hpp>
#include <weft/tokenizers/tokenizer.hpp>

#include "support/temp_folder.hpp"

namespace load_test {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using weft::tokenizers::load_tokenizer;

json small() {
  return json::parse(R"({
    "added_tokens": [{"id": 0, "content": "[UNK]", "special": true}],
    "normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": null, "decoder": {"type": "WordPiece"},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "a": 1, "##b": 2}}})");
}

json small_bpe() {
  auto document = small();
  document["pre_tokenizer"] = {{"type", "ByteLevel"}};
  document["model"] = {
      {"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", {"a b"}}};
  document["added_tokens"] = json::array();
  return document;
}

void expect_error(const std::string& text, const std::string& what) {
  const weft::test::TempFolder folder;
  std::ofstream(folder / "tokenizer.json") << text;
  try {
    load_tokenizer(folder.path());
    ADD_FAILURE() << "no error: " << what;
  } catch (const weft::Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("tokenizer.json"), HasSubstr(what)));
  }
}

void expect_error_at(json document, const char* pointer, const json& value,
                     const std::string& what) {
  document[json::json_pointer(pointer)] = value;
  expect_error(document.dump(), what);
}

TEST(LoadTokenizer, ReadsTheSmallFiles) {
  const weft::test::TempFolder folder;
  std::ofstream(folder / "tokenizer.json") << small();
  EXPECT_THAT(load_tokenizer(folder.path())->encode("ab A cb").ids,
              testing::ElementsAre(1, 2, 1, 0));
  std::ofstream(folder / "tokenizer.json") << small_bpe();
  // 'c' has no token and is left out.
  EXPECT_THAT(load_tokenizer(folder / "tokenizer.json")->encode("abcba").ids,
              testing::ElementsAre(2, 1, 0));
}

TEST(LoadTokenizer, NamesFileAndKeyOfWhatIsWrong) {
  expect_error("{", "not valid JSON");
  expect_error("[]", "expected an object");
  expect_error("{}", "'model' is missing");
  const auto good = small();
  expect_error_at(good, "/model/vocab/a", -1, "model.vocab.a: expected 0 to");
  expect_error_at(good, "/model/vocab/a", "x", "model.vocab.a: expected an integer");
  expect_error_at(good, "/model/vocab/a", 2, "have the same id 2");
  expect_error_at(good, "/model/vocab", json::array(), "model.vocab: expected an object");
  expect_error_at(good, "/model/unk_token", "none", "model.unk_token: 'none' is not in");
  expect_error_at(good, "/model/max_input_chars_per_word", 0, "max_input_chars_per_word");
  expect_error_at(good, "/model/type", "WordLevel",
                  "model: the model 'WordLevel' is not supported");
  expect_error_at(good, "/normalizer/type", "NFX", "normalizer: the normalizer 'NFX' is not");
  expect_error_at(good, "/normalizer/lowercase", 1, "normalizer.lowercase: expected true or false");
  expect_error_at(good, "/pre_tokenizer/type", "UnicodeScripts",
                  "'UnicodeScripts' is not supported");
  expect_error_at(good, "/decoder/type", 7, "decoder.type: expected a string");
  expect_error_at(good, "/post_processor", {{"type", "TemplateProcessing"}}, "'single' is missing");
  expect_error_at(good, "/post_processor",
                  {{"type", "BertProcessing"}, {"cls", {"[CLS]", 9}}, {"sep", {"[SEP]", 0}}},
                  "post_processor: no token has the id 9");
  expect_error_at(good, "/added_tokens/0/id", "x", "added_tokens[0].id: expected an integer");
  expect_error_at(good, "/added_tokens/0/content", "new", "the id 0 of 'new' belongs to '[UNK]'");
  expect_error_at(good, "/padding", {{"pad_id", 99}}, "padding.pad_id: no token has the id 99");
}

TEST(LoadTokenizer, NamesTheMergeThatIsWrong) {
  const auto good = small_bpe();
  expect_error_at(good, "/model/merges/0", "a c", "model.merges[0]: the token 'c' is not in");
  expect_error_at(good, "/model/merges/0", "a", "model.merges[0]: expected two tokens and a space");
  expect_error_at(good, "/model/merges/0", 3, "model.merges[0]: expected \"a b\" or");
  expect_error_at(good, "/model/dropout", 0.1, "model.dropout: a value other than null");
  expect_error_at(good, "/model/continuing_subword_prefix", "@@",
                  "continuing_subword_prefix: a val");
}

TEST(LoadTokenizer, NamesAFolderWithoutAFile) {
  const weft::test::TempFolder folder;
  EXPECT_THAT(
      [&] { load_tokenizer(folder.path()); },
      testing::ThrowsMessage<weft::Error>(HasSubstr("no tokenizer.json, no vocab.txt, no")));
  EXPECT_THROW(load_tokenizer(folder / "absent.json"), weft::Error);
}

TEST(BpeTrainer, RefusesWhatCannotBe) {
  using weft::tokenizers::train_byte_level_bpe;
  EXPECT_THROW(train_byte_level_bpe({"a"}, {.vocab_size = 258}), weft::Error);
  EXPECT_THROW(train_byte_level_bpe({"a"}, {.special_tokens = {"<s>", "<s>"}}), weft::Error);
  EXPECT_THROW(train_byte_level_bpe({"a"}, {.special_tokens = {"<pad>"}}), weft::Error);
  const auto tokenizer = train_byte_level_bpe({"aaaa aaaa", "\xff"}, {.vocab_size = 300});
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("aaaa \xF0\x9F\x98\x80").ids),
            "aaaa \xF0\x9F\x98\x80");
  EXPECT_EQ(train_byte_level_bpe({}, {})->vocab_size(), 259);
}

TEST(DecodeStream, GivesWholeCharacters) {
  const auto tokenizer = weft::tokenizers::train_byte_level_bpe({}, {});
  const auto ids = tokenizer->encode("a\xE2\x82\xAC", {.add_special_tokens = false}).ids;
  ASSERT_EQ(ids.size(), 4u);
  const auto stream = tokenizer->stream();
  EXPECT_EQ(stream->push(ids[0]), "a");
  EXPECT_EQ(stream->push(ids[1]), "");
  EXPECT_EQ(stream->push(ids[2]), "");
  EXPECT_EQ(stream->push(ids[3]), "\xE2\x82\xAC");
  EXPECT_EQ(stream->push(ids[1]), "");
  EXPECT_EQ(stream->push(ids[0]),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(stream->push(ids[1]), "");
  EXPECT_EQ(stream->flush(), "\xEF\xBF\xBD");
}

}  // namespace load_test
