#include <torch/types.h>
#include <torch/utils.h>

#include <weft/checkpoint/classifier_folder.hpp>
#include <weft/checkpoint/tensors.hpp>

#include "support/gmock.hpp"
#include "support/gradcheck.hpp"
#include "support/python.hpp"
#include "support/tensors.hpp"

namespace classifier_folder_test {

using namespace weft::test;
using weft::Error;
using weft::Json;
using weft::checkpoint::ImageClassifierFolder;
using weft::checkpoint::is_image_classifier;
using weft::checkpoint::load_image_classifier;
using weft::checkpoint::save_image_classifier;
using weft::nn::Pooling;

static ImageClassifierFolder make(Pooling pool = Pooling::cls_mean,
                                  const std::vector<std::string>& classes = {"hat", "shoe",
                                                                             "bag"}) {
  const auto image = weft::checkpoint::make_encoder(
      "vit_tiny", weft::checkpoint::Role::image,
      Json::object({{"image_size", 16}, {"hidden_size", 12}, {"num_layers", 2}, {"num_heads", 2}}));
  auto out = weft::checkpoint::make_image_classifier(
      image, {.num_classes = 3, .pool = pool, .dropout = 0.25}, classes);
  randomize(out.model);
  out.transform = {.size = 16, .resize = 20, .mean = {.1, .2, .3}, .std = {.4, .5, .6}};
  return out;
}

TEST(ImageClassifierFolder, ComesBackWithEqualLogits) {
  const TempFolder folder;
  auto made = make();
  made.model->eval();
  save_image_classifier(made, folder / "run" / "model");
  for (const auto& path : {folder / "run", folder / "run" / "model"}) {
    EXPECT_TRUE(is_image_classifier(path));
    auto loaded = load_image_classifier(path);
    EXPECT_EQ(loaded.classes, made.classes);
    EXPECT_EQ(weft::to_json(loaded.transform), weft::to_json(made.transform));
    EXPECT_EQ(weft::to_json(loaded.model->options), weft::to_json(made.model->options));
    EXPECT_TRUE(loaded.report.dropped.empty());
    EXPECT_FALSE(loaded.model->is_training());
    const torch::NoGradGuard no_grad;
    const auto pixels = torch::randn({2, 3, 16, 16});
    EXPECT_TRUE(torch::equal(loaded.model->forward({.data = pixels}),
                             made.model->forward({.data = pixels})));
  }
  const auto config = Json::read(folder / "run" / "model" / "config.json");
  EXPECT_EQ(config.at("model_type").as_string(), "weft_image_classifier");
  // Saved again, without names, in the place of the first.
  auto again = load_image_classifier(folder / "run");
  again.classes = {};
  save_image_classifier(again, folder / "run" / "model");
  EXPECT_TRUE(load_image_classifier(folder / "run").classes.empty());
  EXPECT_FALSE(is_image_classifier(folder / "run" / "model" / "image"));
}

TEST(ImageClassifierFolder, NamesWhatIsWrong) {
  const TempFolder folder;
  const auto path = folder / "model";
  const auto error = [&](auto&& call, const auto& matcher) {
    EXPECT_THAT(call, ThrowsMessage<Error>(matcher));
  };
  error(
      [] {
        make(Pooling::cls, {"hat", "shoe"});
      },
      HasSubstr("expected the names of 3 classes, found 2"));
  auto made = make();
  made.image = make().image;
  error([&] { save_image_classifier(made, path); }, HasSubstr("not that of the model"));
  error([&] { save_image_classifier({}, path); }, HasSubstr("its model, which is missing"));
  EXPECT_FALSE(std::filesystem::exists(path));
  save_image_classifier(make(), path);
  error([&] { load_image_classifier(path / "image"); },
        AllOf(HasSubstr("expected an image classifier"), HasSubstr("model_type \"vit\"")));
  const auto config = Json::read(path / "config.json");
  const auto with = [&](const char* key, const Json& value) {
    return [&, key, value] {
      Json(config).set(key, value).write(path / "config.json");
      load_image_classifier(path);
    };
  };
  error(with("classes", std::vector<std::string>{"hat"}),
        AllOf(HasSubstr("config.json: classes"), HasSubstr("3 classes, found 1")));
  error(with("pool", "mean"),
        AllOf(HasSubstr("head.weight"), HasSubstr("expected [3, 12], found [3, 24]")));
  error(with("num_class", 3), HasSubstr("num_class"));
}

TEST(ImageClassifierFolder, ANewHeadReadsWhatItsFamilysDoes) {
  using weft::checkpoint::head_pooling;
  EXPECT_EQ(head_pooling("dinov2"), Pooling::cls_mean);
  EXPECT_EQ(head_pooling("vit"), Pooling::cls);
  EXPECT_EQ(head_pooling("clip_vision_model"), Pooling::encoder);
}

// Classifiers of transformers and timm with random weights, their logits in fp64, and after the
// second run what transformers makes of the tower that weft saved.
constexpr const char* kWrite = R"(
import json, pathlib, sys
import timm, torch, transformers
from safetensors.torch import save_file
root = pathlib.Path(sys.argv[1])
torch.manual_seed(0)
names = {0: "hat", 1: "shoe", 2: "bag", 3: "coat"}
shared = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=3, patch_size=4, image_size=16, id2label=names)
T = transformers
models = {
  "vit": T.ViTForImageClassification(T.ViTConfig(**shared, intermediate_size=20)),
  "dinov2": T.Dinov2ForImageClassification(T.Dinov2Config(**shared, mlp_ratio=2)),
  "registers": T.Dinov2WithRegistersForImageClassification(T.Dinov2WithRegistersConfig(**shared, mlp_ratio=2, num_register_tokens=2)),
  "timm": timm.create_model("vit_small_patch16_224", num_classes=4, img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3, global_pool="avg"),
}
pixels = torch.randn(3, 3, 16, 16, dtype=torch.float64)
results = {"pixels": pixels}
for name, model in models.items():
  for p in model.parameters():
    torch.nn.init.normal_(p, 0, 0.3)
  folder = root / name
  if name == "timm":
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    args = dict(img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3)
    (folder / "config.json").write_text(json.dumps(dict(architecture="vit_small_patch16_224", num_classes=4, global_pool="avg", model_args=dict(args, global_pool="avg"), label_names=list(names.values()))))
  else:
    model.save_pretrained(folder)
  with torch.no_grad():
    out = model.double().eval()(pixels)
  results[name] = out if name == "timm" else out.logits
save_file(results, root / "results.safetensors")
)";

constexpr const char* kReload = R"(
import pathlib, sys
import torch, transformers
from safetensors.torch import load_file
root = pathlib.Path(sys.argv[1])
results = load_file(root / "results.safetensors")
saved = root / "saved"
model, info = transformers.Dinov2Model.from_pretrained(saved / "image", output_loading_info=True)
assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
head = load_file(saved / "model.safetensors")
tokens = model.double().eval()(results["pixels"]).last_hidden_state
features = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)
logits = features @ head["head.weight"].double().T + head["head.bias"].double()
assert (logits - results["dinov2"]).abs().max() < 1e-12 * results["dinov2"].abs().max(), logits - results["dinov2"]
)";

TEST(ImageClassifierFolder, KeepsTheHeadsOfTransformersAndTimm) {
  WEFT_NEEDS_PYTHON();
  const TempFolder folder;
  const auto root = folder / "models";
  std::filesystem::create_directory(root);
  ASSERT_TRUE(run_python(kWrite, root));
  const auto results = weft::checkpoint::read_tensors(root / "results.safetensors");
  const torch::NoGradGuard no_grad;
  for (const auto* name : {"vit", "dinov2", "registers", "timm"}) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(is_image_classifier(root / name));
    auto loaded = load_image_classifier(root / name);
    EXPECT_EQ(loaded.classes, (std::vector<std::string>{"hat", "shoe", "bag", "coat"}));
    EXPECT_TRUE(loaded.report.dropped.empty());
    loaded.model->to(torch::kDouble);
    EXPECT_TRUE(
        close(loaded.model->forward({.data = results.at("pixels")}), results.at(name), 1e-9));
  }
  save_image_classifier(load_image_classifier(root / "dinov2"), root / "saved");
  EXPECT_TRUE(run_python(kReload, root));
}

}  // namespace classifier_folder_test
