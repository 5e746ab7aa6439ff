// Draws captioned scenes as WebDataset shards: data for a small dual encoder, from nothing.
//     scenes --out scenes --train 10000
// Writes train-000000.tar ... and val-000000.tar; a few seconds on one core.
//
// A scene is two objects of different colours, each colour x shape x place on a 3 x 3 grid, and the
// relation between them. An eighth of all pairs {(colour, shape), (colour, shape)} never stand
// together in a training scene; every validation scene shows another one of them, and no two
// validation captions consist of the same words. Which pairs are held out does not depend on
// --seed. KEY.json of a validation sample also holds "swapped": its caption with the two colours
// exchanged, the same words for another scene.
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <weft/core/flags.hpp>
#include <weft/core/json.hpp>
#include <weft/io/image.hpp>
#include <weft/io/tar.hpp>

#include "program.hpp"

namespace {

struct Options {
  std::filesystem::path out = "scenes";
  int64_t train = 10'000;
  int64_t val = 100;
  int64_t size = 64;
  int64_t seed = 0;
  template <class Self, class V>
  static void visit(Self& o, V&& v) {
    v("out", o.out, "folder for the shards");
    v("train", o.train, "training scenes");
    v("val", o.val, "scenes of held-out pairs");
    v("size", o.size, "side of the images in pixels");
    v("seed", o.seed, "seed of the scenes");
  }
};

using Rgb = std::array<double, 3>;
struct Colour {
  const char* name;
  Rgb rgb;
};
constexpr std::array<Colour, 8> kColours = {{{"red", {220, 35, 35}},
                                             {"green", {35, 160, 60}},
                                             {"blue", {40, 80, 220}},
                                             {"yellow", {245, 215, 30}},
                                             {"purple", {140, 50, 175}},
                                             {"orange", {250, 135, 20}},
                                             {"pink", {250, 150, 195}},
                                             {"black", {30, 30, 30}}}};
constexpr std::array kShapes = {"circle", "square", "triangle", "star", "cross", "ring"};
constexpr int kKinds = static_cast<int>(kColours.size() * kShapes.size());
constexpr int kShardSize = 1000;

/// Numbers that are the same with every standard library.
struct Random {
  std::mt19937_64 bits;
  int below(int n) { return static_cast<int>(bits() % static_cast<uint64_t>(n)); }
  double between(double low, double high) {
    return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1p-53;
  }
  template <class T>
  void shuffle(std::vector<T>& v) {
    for (size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[bits() % i]);
  }
};

/// One of the 48 colour x shape kinds at a place of the grid.
struct Object {
  int kind, row, column;
  const Colour& colour() const { return kColours[static_cast<size_t>(kind) / kShapes.size()]; }
  size_t shape() const { return static_cast<size_t>(kind) % kShapes.size(); }
};
struct Scene {
  Object a, b;
};
using Pair = std::pair<int, int>;  // kinds, smaller one first

std::vector<Pair> pairs_of_two_colours() {
  std::vector<Pair> out;
  for (int a = 0; a < kKinds; ++a)
    for (int b = a + 1; b < kKinds; ++b)
      if (Object{a, 0, 0}.colour().name != Object{b, 0, 0}.colour().name) out.push_back({a, b});
  return out;
}

/// The two objects in random order, further apart along one axis than along the other, so that one
/// relation holds.
Scene place(const Pair& pair, Random& random) {
  Scene scene{{pair.first, 0, 0}, {pair.second, 0, 0}};
  if (random.below(2)) std::swap(scene.a.kind, scene.b.kind);
  int rows = 0, columns = 0;
  do {
    for (auto* object : {&scene.a, &scene.b}) {
      object->row = random.below(3);
      object->column = random.below(3);
    }
    rows = std::abs(scene.a.row - scene.b.row);
    columns = std::abs(scene.a.column - scene.b.column);
  } while (rows == columns);
  return scene;
}

bool inside(size_t shape, double x, double y) {
  const double radius = std::hypot(x, y), side = std::max(std::abs(x), std::abs(y));
  switch (shape) {
    case 0:
      return radius < 0.95;
    case 1:
      return side < 0.82;
    case 2:
      return y < 0.6 && std::sqrt(3.0) * std::abs(x) - y < 1.1;
    case 3: {  // one of ten mirrored triangles, from a tip at 0 to a notch at 36 degrees
      constexpr double kTenth = M_PI / 5, kNotch = 0.45;
      double angle = std::fmod(std::atan2(x, -y) + 2 * M_PI, 2 * kTenth);
      angle = std::min(angle, 2 * kTenth - angle);
      const double u = radius * std::cos(angle), v = radius * std::sin(angle);
      const double nx = kNotch * std::cos(kTenth), ny = kNotch * std::sin(kTenth);
      return (u - 1.1) * ny - v * (nx - 1.1) < 0;
    }
    case 4:
      return side < 0.95 && std::min(std::abs(x), std::abs(y)) < 0.32;
    default:
      return radius < 0.95 && radius > 0.55;
  }
}

void draw(const Object& object, double size, Random& random, weft::io::Image& image) {
  constexpr int kSub = 4;  // samples along a pixel's side
  const double cell = size / 3, radius = cell * random.between(0.36, 0.47), slack = cell * 0.06;
  const double cx = (object.column + 0.5) * cell + random.between(-slack, slack);
  const double cy = (object.row + 0.5) * cell + random.between(-slack, slack);
  const double turn = random.between(-0.2, 0.2), c = std::cos(turn), s = std::sin(turn);
  Rgb rgb = object.colour().rgb;
  for (auto& channel : rgb) channel = std::clamp(channel + random.between(-15, 15), 0.0, 255.0);
  const auto reach = [&](double centre, double by) {
    return static_cast<int64_t>(std::clamp(centre + by * radius * 1.5, 0.0, size));
  };
  for (int64_t y = reach(cy, -1); y < reach(cy, 1); ++y) {
    for (int64_t x = reach(cx, -1); x < reach(cx, 1); ++x) {
      int hits = 0;
      for (int i = 0; i < kSub * kSub; ++i) {
        const double u = (static_cast<double>(x) + (i % kSub + 0.5) / kSub - cx) / radius;
        const double v = (static_cast<double>(y) + (i / kSub + 0.5) / kSub - cy) / radius;
        hits += inside(object.shape(), c * u + s * v, c * v - s * u);
      }
      const double cover = hits / static_cast<double>(kSub * kSub);
      auto* pixel = &image.rgb[static_cast<size_t>(3 * (y * image.width + x))];
      for (size_t k = 0; k < 3; ++k)
        pixel[k] = static_cast<uint8_t>(std::lround(pixel[k] + cover * (rgb[k] - pixel[k])));
    }
  }
}

weft::io::Image render(const Scene& scene, int64_t size, Random& random) {
  weft::io::Image image{size, size, {}};
  image.rgb.assign(static_cast<size_t>(3 * size * size),
                   static_cast<uint8_t>(random.between(200, 256)));
  draw(scene.a, static_cast<double>(size), random, image);
  draw(scene.b, static_cast<double>(size), random, image);
  return image;
}

std::string place_words(const Object& object) {
  static constexpr std::array kPlaces = {
      "in the top left",    "at the top",    "in the top right",
      "on the left",        "in the middle", "on the right",
      "in the bottom left", "at the bottom", "in the bottom right"};
  return kPlaces[static_cast<size_t>(3 * object.row + object.column)];
}

std::string relation(const Object& a, const Object& b, Random& random) {
  if (std::abs(a.row - b.row) > std::abs(a.column - b.column)) {
    if (a.row < b.row) return random.below(2) ? "above" : "over";
    return random.below(2) ? "below" : "under";
  }
  const std::string side = a.column < b.column ? "left of" : "right of";
  return random.below(2) ? side : "to the " + side;
}

/// One of four wordings, seen from either object; `swapped` exchanges the colours and nothing else.
std::string caption(const Scene& scene, Random random, int wording, bool swapped = false) {
  const auto turned = random.below(2) == 1;
  const auto &a = turned ? scene.b : scene.a, &b = turned ? scene.a : scene.b;
  const auto name = [&](const Object& object, const Object& other) {
    const std::string colour = (swapped ? other : object).colour().name;
    return (colour == "orange" ? "an " : "a ") + colour + " " + kShapes[object.shape()];
  };
  const auto first = name(a, b), second = name(b, a), between = relation(a, b, random);
  switch (wording) {
    case 0:
      return first + " " + between + " " + second;
    case 1:
      return first + " is " + between + " " + second;
    case 2:
      return "there is " + first + " " + between + " " + second;
    default:
      return first + " " + place_words(a) + " and " + second + " " + place_words(b);
  }
}

/// The words of a caption in alphabetical order.
std::string bag_of(const std::string& text) {
  std::istringstream in(text);
  std::multiset<std::string> words;
  for (std::string word; in >> word;) words.insert(word);
  std::string out;
  for (const auto& word : words) out += word + " ";
  return out;
}

/// Samples into shards of kShardSize.
class Shards {
 public:
  Shards(const Options& options, std::string split) : options_(options), split_(std::move(split)) {}

  void add(const Scene& scene, const std::vector<std::string>& captions,
           const std::optional<std::string>& swapped, Random& random) {
    if (count_ % kShardSize == 0) open();
    const auto key = split_ + "-" + numbered(count_++);
    auto json = weft::Json::object({{"key", key}, {"captions", captions}});
    if (swapped) json.set("swapped", *swapped);
    writer_->add(key + ".png", weft::io::encode_png(render(scene, options_.size, random)));
    writer_->add(key + ".txt", captions.front());
    writer_->add(key + ".json", json.dump());
  }
  int64_t close() {
    if (writer_) writer_->close();
    writer_.reset();
    return count_;
  }

 private:
  static std::string numbered(int64_t n) {
    auto digits = std::to_string(n);
    return std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
  }
  void open() {
    if (writer_) writer_->close();
    writer_.emplace(options_.out / (split_ + "-" + numbered(count_ / kShardSize) + ".tar"));
  }

  const Options& options_;
  std::string split_;
  int64_t count_ = 0;
  std::optional<weft::io::TarWriter> writer_;
};

int run(int argc, char** argv) {
  Options options;
  weft::Flags("scenes", "Draws captioned scenes as WebDataset shards.")
      .add(options)
      .parse(argc, argv);
  auto pairs = pairs_of_two_colours();
  Random fixed{std::mt19937_64(20'24)};
  fixed.shuffle(pairs);
  const auto held_out = pairs.size() / 8;
  if (options.train < 1 || options.size < 16 || options.size > 4096 || options.val < 1 ||
      options.val > static_cast<int64_t>(held_out))
    throw weft::Error(
        "scenes: expected --train of at least 1, --size from 16 to 4096 and --val from 1 to " +
            std::to_string(held_out) + " (the held-out pairs), found " +
            std::to_string(options.train) + ", " + std::to_string(options.size) + " and " +
            std::to_string(options.val),
        weft::ErrorKind::usage);
  std::filesystem::create_directories(options.out);

  Random random{std::mt19937_64(static_cast<uint64_t>(options.seed))};
  Shards train(options, "train"), val(options, "val");
  for (int64_t i = 0; i < options.train; ++i) {
    const auto pair = held_out + random.bits() % (pairs.size() - held_out);
    const auto scene = place(pairs[pair], random);
    std::vector<std::string> captions;
    for (int wording = 0; wording < 4; ++wording)
      captions.push_back(caption(scene, Random{std::mt19937_64(random.bits())}, wording));
    random.shuffle(captions);
    train.add(scene, captions, std::nullopt, random);
  }
  train.close();

  std::set<std::string> bags;
  for (int64_t i = 0; i < options.val; ++i) {
    for (;;) {
      const auto scene = place(pairs[static_cast<size_t>(i)], random);
      const Random words{std::mt19937_64(random.bits())};
      const auto wording = random.below(4);
      const auto text = caption(scene, words, wording);
      if (!bags.insert(bag_of(text)).second) continue;
      val.add(scene, {text}, caption(scene, words, wording, true), random);
      break;
    }
  }
  val.close();
  std::cout << weft::Json::object({{"out", options.out.string()},
                                   {"train", options.train},
                                   {"val", options.val},
                                   {"held_out_pairs", static_cast<int64_t>(held_out)}})
                   .dump()
            << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("scenes", [&] { return run(argc, argv); });
}
