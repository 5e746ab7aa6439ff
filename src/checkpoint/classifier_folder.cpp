#include <algorithm>

#include <weft/checkpoint/classifier_folder.hpp>
#include <weft/checkpoint/preprocessor.hpp>
#include <weft/io/folder.hpp>
#include <weft/nn/init.hpp>

#include "checkpoint/own_folder.hpp"
#include "core/fail.hpp"

namespace weft::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kClassifierType = "weft_image_classifier";

/// How a family's own library names the head of its classifiers, and what that reads.
struct Head {
  std::string_view family, prefix;
  nn::Pooling pool;
};
constexpr Head kHeads[] = {
    {"vit", "classifier.", nn::Pooling::cls},
    {"dinov2", "classifier.", nn::Pooling::cls_mean},
    {"dinov2_with_registers", "classifier.", nn::Pooling::cls_mean},
    {"timm_vit", "head.", nn::Pooling::encoder},
};

const Head* head_of(std::string_view family) {
  const auto* found = std::ranges::find(kHeads, family, &Head::family);
  return found == std::end(kHeads) ? nullptr : found;
}

std::string weight_name(const Head& head) { return std::string(head.prefix) + "weight"; }

/// The head that lies beside an encoder's weights; null where there is none.
const Head* head_beside_encoder(const fs::path& folder) {
  const auto* head = head_of(family_of(folder));
  const bool weights = fs::exists(folder / "model.safetensors") ||
                       fs::exists(folder / "model.safetensors.index.json");
  return head != nullptr && weights && io::Safetensors::open(folder).find(weight_name(*head))
             ? head
             : nullptr;
}

bool is_own(const fs::path& folder) { return family_of(folder) == kClassifierType; }
bool holds_classifier(const fs::path& folder) {
  return is_own(folder) || head_beside_encoder(folder);
}

void check_classes(const std::vector<std::string>& classes, int64_t count,
                   const std::string& where) {
  if (!classes.empty() && static_cast<int64_t>(classes.size()) != count)
    fail("{}: expected the names of {} classes, found {}", where, count, classes.size());
}

/// The names in a config.json of Hugging Face or timm; empty where there are none, or those that
/// Hugging Face makes up.
std::vector<std::string> class_names(const Json& config, int64_t count) {
  std::vector<std::string> out;
  const auto names = config.get("id2label"), list = config.get("label_names");
  if (list.is_array()) {
    out = list.as_strings();
  } else if (names.is_object()) {
    bool made_up = true;
    for (int64_t i = 0; i < count && names.contains(std::to_string(i)); ++i) {
      out.push_back(names.at(std::to_string(i)).as_string());
      made_up = made_up && out.back() == "LABEL_" + std::to_string(i);
    }
    if (made_up) return {};
  }
  return static_cast<int64_t>(out.size()) == count ? out : std::vector<std::string>();
}

ImageClassifierFolder load_own_classifier(const fs::path& folder) {
  const auto file = folder / "config.json";
  const auto config = Json::read(file);
  ImageClassifierFolder out;
  out.image = load_encoder(folder / "image");
  const auto options = from_json<models::ImageClassifierOptions>(
      Json(config).erase("model_type").erase("classes"), file.string());
  out.classes = config.get("classes", Json::array()).as_strings();
  check_classes(out.classes, options.num_classes, file.string() + ": classes");
  out.model = models::ImageClassifier(out.image.encoder, options);
  read_beside(folder, beside(*out.model, {"encoder."}));
  out.report = out.image.report;
  return out;
}

ImageClassifierFolder load_with_head(const fs::path& folder, const Head& head) {
  const auto file = io::Safetensors::open(folder);
  const auto shape = file.at(weight_name(head)).shape;
  if (shape.size() != 2)
    fail("{}: {} must be [classes, width], found {} dimensions", file.origin(), weight_name(head),
         shape.size());
  ImageClassifierFolder out;
  out.image = load_encoder(folder);
  out.classes = class_names(out.image.config, shape[0]);
  {
    const nn::NoInitGuard no_init;
    out.model = models::ImageClassifier(
        out.image.encoder,
        models::ImageClassifierOptions{.num_classes = shape[0], .pool = head.pool});
  }
  KeyMap map;
  map.rename(std::string(head.prefix) + "{p}", "head.{p}").drop("{name...}", "the encoder's");
  map.load(file, beside(*out.model, {"encoder."}));
  out.report = out.image.report;
  std::erase_if(out.report.dropped, [&](const LoadReport::Dropped& weight) {
    return weight.name.starts_with(head.prefix);
  });
  return out;
}

}  // namespace

ImageClassifierFolder load_image_classifier(const fs::path& path) {
  const auto folder = model_folder(path, holds_classifier);
  ImageClassifierFolder out;
  if (is_own(folder)) {
    out = load_own_classifier(folder);
  } else if (const auto* head = head_beside_encoder(folder)) {
    out = load_with_head(folder, *head);
  } else {
    const auto file = folder / "config.json";
    const auto found = Json::read(file).get("model_type");
    fail(
        "{}: expected an image classifier, that is the model_type {} or an encoder with a head in "
        "its weights, found the model_type {}",
        file.string(), kClassifierType, found.dump());
  }
  out.transform = image_transform(out.image);
  out.model->eval();
  return out;
}

void save_image_classifier(const ImageClassifierFolder& folder, const fs::path& path) {
  if (folder.model.is_empty())
    fail("{}: an image classifier is saved with its model, which is missing", path.string());
  if (folder.model->encoder != folder.image.encoder)
    fail("{}: the folder's encoder is not that of the model", path.string());
  const auto& options = folder.model->options;
  check_classes(folder.classes, options.num_classes, path.string());
  io::FolderWriter writer(path);
  const auto& target = writer.folder();
  save_encoder(with_transform(folder.image, folder.transform), target / "image");
  write_beside(target, beside(*folder.model, {"encoder."}));
  to_json(options)
      .set("classes", folder.classes)
      .set("model_type", kClassifierType)
      .write(target / "config.json");
  writer.keep_others(is_model_file);
  writer.commit();
}

ImageClassifierFolder make_image_classifier(EncoderFolder image,
                                            const models::ImageClassifierOptions& options,
                                            std::vector<std::string> classes) {
  check_classes(classes, options.num_classes, "make_image_classifier");
  ImageClassifierFolder out;
  out.transform = image_transform(image);
  out.model = models::ImageClassifier(image.encoder, options);
  out.image = std::move(image);
  out.classes = std::move(classes);
  return out;
}

nn::Pooling head_pooling(const std::string& family) {
  const auto* head = head_of(family);
  return head == nullptr ? nn::Pooling::encoder : head->pool;
}

bool is_image_classifier(const fs::path& path) {
  return holds_classifier(path) || holds_classifier(path / "model");
}

}  // namespace weft::checkpoint
